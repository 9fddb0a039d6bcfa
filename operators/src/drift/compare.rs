//! A reference against a window: which statistic, its value, and whether that is drift.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bins::{Binning, Counts, Sides};
use super::categories::{Categories, CategoryKey};
use super::method::FEW;
use super::threshold::{Threshold, learned};
use super::values::Distribution;
use super::{DriftError, Method, distance, smirnov, steps};

/// The least standard deviation that an area between distribution functions is divided by, as in Evidently.
const LEAST_DEVIATION: f64 = 0.001;

/// How a reference and a window are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftCheck {
    /// The statistic; by default the one that Evidently would use for such data.
    pub method: Option<Method>,
    /// What it is compared with; by default [`Method::default_threshold`].
    pub threshold: Threshold,
    /// How numbers are cut into bins. Kolmogorov-Smirnov, Wasserstein, chi-square and Z do not use it.
    pub binning: Binning,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The statistic.
    pub method: Method,
    /// Its value: a p-value or a distance; see [`Method`]. With a learned threshold it is a distance.
    pub value: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// Whether there is drift.
    pub drifted: bool,
    /// Number of values in the reference, without missing and infinite ones.
    pub n_reference: u64,
    /// Number of values in the window, without missing and infinite ones.
    pub n: u64,
    /// Both numbers of Kolmogorov and Smirnov, if that is the method.
    #[serde(default)]
    pub kolmogorov_smirnov: Option<KolmogorovSmirnov>,
}

/// The test of Kolmogorov and Smirnov.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KolmogorovSmirnov {
    /// The largest distance of the two distribution functions, 0 to 1.
    pub distance: f64,
    /// The probability of at least that distance without drift: exact up to 10,000 values a side, as in scipy.
    pub p_value: f64,
}

impl DriftCheck {
    /// Compares numbers.
    ///
    /// * While both sides are exact, values are Evidently's, with [`Binning::Evidently`]. If one is folded, the other
    ///   is folded for the comparison, too: distances move by about 0.0001 then, and a p-value by what its distance
    ///   moved.
    /// # Errors
    /// [`DriftError::Empty`] if one side has no finite values; [`DriftError::FewChunks`] if the threshold is to be learned:
    /// that takes a [`Baseline`](super::Baseline) with chunks, in [`DriftExt::drift`](super::DriftExt::drift).
    pub fn values(&self, reference: &Distribution, window: &Distribution) -> Result<Comparison, DriftError> {
        self.values_by(reference, window, |_| learned(&[]))
    }

    /// Compares categories that are counted by one vocabulary.
    ///
    /// # Errors
    /// [`DriftError::Empty`] if one side has no values; [`DriftError::NeedsNumbers`] for Kolmogorov-Smirnov and
    /// Wasserstein; [`DriftError::FewChunks`] as for numbers.
    pub fn categories(&self, reference: &Categories, window: &Categories) -> Result<Comparison, DriftError> {
        self.categories_by(reference, window, |_| learned(&[]))
    }

    /// Compares numbers. `learn` is asked for the threshold of the method, if it is to be learned.
    pub(super) fn values_by(
        &self,
        reference: &Distribution,
        window: &Distribution,
        learn: impl FnOnce(Method) -> Result<f64, DriftError>,
    ) -> Result<Comparison, DriftError> {
        not_empty(reference.count(), window.count())?;
        let (reference, window) = (reference.settled(), window.settled());
        let sides = Sides { reference: &reference, window: &window };
        let distinct = || sides.distinct_up_to(FEW);
        let method = self.method.unwrap_or_else(|| Method::for_numbers(self.rows(reference.count), distinct()));
        let threshold = self.threshold_of(method, learn)?;
        let tested = (method == Method::KolmogorovSmirnov).then(|| largest_distance(&sides));
        let value = match tested {
            Some(tested) if self.threshold == Threshold::Learned => tested.distance,
            Some(tested) => tested.p_value,
            None => self.statistic(method, &sides),
        };
        let found = self.comparison((method, value, threshold), reference.count, window.count);
        Ok(Comparison { kolmogorov_smirnov: tested, ..found })
    }

    /// Compares categories. `learn` is asked for the threshold of the method, if it is to be learned.
    pub(super) fn categories_by(
        &self,
        reference: &Categories,
        window: &Categories,
        learn: impl FnOnce(Method) -> Result<f64, DriftError>,
    ) -> Result<Comparison, DriftError> {
        let (n_reference, n) = (reference.count(), window.count());
        not_empty(n_reference, n)?;
        let counts = counts_of(reference, window);
        let by_default = || Method::for_categories(self.rows(n_reference), counts.bins.len());
        let method = self.method.unwrap_or_else(by_default);
        let value = statistic_of_categories(method, &counts)?;
        let threshold = self.threshold_of(method, learn)?;
        Ok(self.comparison((method, value, threshold), n_reference, n))
    }

    /// Returns the threshold that chunks of the training data have learned for numbers. Those without values say nothing.
    ///
    /// # Errors
    /// [`DriftError::FewChunks`], and [`DriftError::NotLearned`] for chi-square and Z.
    pub(super) fn learn_values<'a>(
        &self,
        method: Method,
        reference: &Distribution,
        chunks: impl Iterator<Item = &'a Distribution>,
    ) -> Result<f64, DriftError> {
        let reference = reference.settled();
        let statistic = |chunk: &Distribution| {
            let window = chunk.settled();
            self.statistic(method, &Sides { reference: &reference, window: &window })
        };
        let with_values = chunks.filter(|chunk| reference.count > 0 && chunk.count() > 0);
        learned(&with_values.map(statistic).collect::<Vec<_>>())
    }

    /// As [`DriftCheck::learn_values`], for categories.
    pub(super) fn learn_categories<'a>(
        method: Method,
        reference: &Categories,
        chunks: impl Iterator<Item = &'a Categories>,
    ) -> Result<f64, DriftError> {
        let with_values = chunks.filter(|chunk| reference.count() > 0 && chunk.count() > 0);
        let statistics = with_values.map(|chunk| statistic_of_categories(method, &counts_of(reference, chunk)));
        learned(&statistics.collect::<Result<Vec<_>, _>>()?)
    }

    /// Returns the statistic of numbers; of Kolmogorov and Smirnov it is the distance.
    fn statistic(&self, method: Method, sides: &Sides<'_>) -> f64 {
        match method {
            Method::Psi => distance::psi(&sides.binned(self.binning)),
            Method::JensenShannon => distance::jensen_shannon(&sides.binned(self.binning)),
            Method::KullbackLeibler => distance::kullback_leibler(&sides.binned(self.binning)),
            Method::Hellinger if self.binning == Binning::Evidently => distance::hellinger(&sides.binned_by_distinct()),
            Method::Hellinger => distance::hellinger(&sides.binned(self.binning)),
            Method::ChiSquare => distance::chi_square(&sides.by_value()),
            Method::Z => distance::z(&sides.by_value()),
            Method::KolmogorovSmirnov => share(steps_of(sides).largest, sides),
            Method::Wasserstein => {
                let reference = sides.reference;
                steps_of(sides).area / reference.moments.deviation(reference.count).max(LEAST_DEVIATION)
            }
        }
    }

    /// Returns the number of rows by which a method is chosen: for a learned threshold it is a distance.
    fn rows(&self, n_reference: u64) -> u64 {
        if self.threshold == Threshold::Learned { u64::MAX } else { n_reference }
    }

    fn threshold_of(
        &self,
        method: Method,
        learn: impl FnOnce(Method) -> Result<f64, DriftError>,
    ) -> Result<f64, DriftError> {
        match self.threshold {
            Threshold::Default => Ok(method.default_threshold()),
            Threshold::At(threshold) => Ok(threshold),
            Threshold::Learned if method.is_learnable() => learn(method),
            Threshold::Learned => Err(DriftError::NotLearned { method }),
        }
    }

    fn comparison(&self, (method, value, threshold): (Method, f64, f64), n_reference: u64, n: u64) -> Comparison {
        let drifted = match self.threshold {
            // Above it, as NannyML: a feature that never changes has learned 0, and 0 is no drift.
            Threshold::Learned => value > threshold,
            Threshold::Default | Threshold::At(_) => method.is_drift(value, threshold),
        };
        Comparison { method, value, threshold, drifted, n_reference, n, kolmogorov_smirnov: None }
    }
}

fn statistic_of_categories(method: Method, counts: &Counts) -> Result<f64, DriftError> {
    match method {
        Method::Psi => Ok(distance::psi(counts)),
        Method::JensenShannon => Ok(distance::jensen_shannon(counts)),
        Method::KullbackLeibler => Ok(distance::kullback_leibler(counts)),
        Method::Hellinger => Ok(distance::hellinger(counts)),
        Method::ChiSquare => Ok(distance::chi_square(counts)),
        Method::Z => Ok(distance::z(counts)),
        Method::KolmogorovSmirnov | Method::Wasserstein => Err(DriftError::NeedsNumbers { method }),
    }
}

fn counts_of(reference: &Categories, window: &Categories) -> Counts {
    Counts::of(by_category(reference, window).into_values(), reference.count(), window.count())
}

/// Returns the counts of each category on both sides. What one side has counted together is compared together.
pub(super) fn by_category<'a>(
    reference: &'a Categories,
    window: &'a Categories,
) -> BTreeMap<CategoryKey<'a>, (f64, f64)> {
    let mut both: BTreeMap<CategoryKey<'_>, (f64, f64)> = BTreeMap::new();
    let last = [reference.last_counted(), window.last_counted()].into_iter().flatten().min();
    reference.counts(last).into_iter().for_each(|(key, count)| both.entry(key).or_default().0 = count as f64);
    window.counts(last).into_iter().for_each(|(key, count)| both.entry(key).or_default().1 = count as f64);
    both
}

fn steps_of(sides: &Sides<'_>) -> steps::Between {
    let [left, right] = sides.points();
    steps::between(&left, &right)
}

/// Returns a distance of distribution functions that is counted in steps as what it is, 0 to 1.
fn share(largest: i128, sides: &Sides<'_>) -> f64 {
    largest as f64 / (sides.reference.count as f64 * sides.window.count as f64)
}

fn largest_distance(sides: &Sides<'_>) -> KolmogorovSmirnov {
    let largest = steps_of(sides).largest;
    let p_value = smirnov::p_value(sides.reference.count, sides.window.count, largest);
    KolmogorovSmirnov { distance: share(largest, sides), p_value }
}

fn not_empty(n_reference: u64, n: u64) -> Result<(), DriftError> {
    match (n_reference, n) {
        (0, _) => Err(DriftError::Empty { side: "reference" }),
        (_, 0) => Err(DriftError::Empty { side: "window" }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Category, Vocabulary};

    fn of(values: impl IntoIterator<Item = f64>) -> Distribution {
        let mut distribution = Distribution::default();
        values.into_iter().for_each(|value| distribution.add(Some(value)));
        distribution
    }

    #[test]
    fn the_result_says_what_was_compared_with_what() {
        let check = DriftCheck { method: Some(Method::Wasserstein), threshold: 0.5.into(), ..DriftCheck::default() };
        let result = check.values(&of([0.0, 2.0]), &of([0.5, 2.5, 0.5, 2.5])).unwrap();
        assert_eq!((result.value, result.drifted, result.n_reference, result.n), (0.5, true, 2, 4));
        let result = DriftCheck { threshold: 0.51.into(), ..check }.values(&of([0.0, 2.0]), &of([0.5, 2.5])).unwrap();
        assert_eq!((result.threshold, result.drifted, result.kolmogorov_smirnov), (0.51, false, None));
    }

    #[test]
    fn kolmogorov_smirnov_gives_both_numbers() {
        let check = DriftCheck { method: Some(Method::KolmogorovSmirnov), ..DriftCheck::default() };
        let result = check.values(&of([1.0, 2.0]), &of([3.0, 4.0])).unwrap();
        assert_eq!(result.kolmogorov_smirnov, Some(KolmogorovSmirnov { distance: 1.0, p_value: result.value }));
        assert!((result.value - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        let (empty, some) = (of([f64::NAN, f64::INFINITY]), of([1.0]));
        let error = |reference, window| DriftCheck::default().values(reference, window).unwrap_err();
        assert_eq!(error(&empty, &some), DriftError::Empty { side: "reference" });
        assert_eq!(error(&some, &empty), DriftError::Empty { side: "window" });
        let none = Categories::default();
        let error = DriftCheck::default().categories(&none, &none).unwrap_err();
        assert_eq!(error, DriftError::Empty { side: "reference" });
    }

    #[test]
    fn categories_have_no_distribution_function() {
        let mut some = Categories::default();
        some.add(Some(Category::Unknown("a")));
        let check = DriftCheck { method: Some(Method::Wasserstein), ..DriftCheck::default() };
        let error = check.categories(&some, &some).unwrap_err();
        assert_eq!(error, DriftError::NeedsNumbers { method: Method::Wasserstein });
    }

    #[test]
    fn a_category_means_the_same_by_index_and_by_name() {
        let by_name = |vocabulary: &Vocabulary, names: &str| {
            let mut categories = Categories::default();
            names.split(' ').for_each(|name| categories.add(Some(vocabulary.category(name))));
            categories
        };
        let check = DriftCheck { method: Some(Method::Psi), ..DriftCheck::default() };
        let results =
            [Vocabulary::default(), Vocabulary::from(vec!["b".to_owned(), "a".to_owned()])].map(|vocabulary| {
                let (reference, window) = (by_name(&vocabulary, "a a b b b a"), by_name(&vocabulary, "a b new b a a"));
                check.categories(&reference, &window).unwrap().value
            });
        assert!(results[0] > 0.1 && (results[0] - results[1]).abs() < 1e-12, "{results:?}");
    }

    #[test]
    fn many_categories_of_the_same_distribution_do_not_drift() {
        // 300 merchants have nearly all payments, and the training data have seen 4,700 others.
        let of = |frequent: u64, others: u64| {
            let mut all = Categories::default();
            (0..300).for_each(|at| all.add_many(&format!("merchant {at}"), frequent));
            (300..300 + others).for_each(|at| all.add_many(&format!("merchant {at}"), 1));
            all
        };
        let check = DriftCheck { method: Some(Method::JensenShannon), ..DriftCheck::default() };
        let found = check.categories(&of(1_000, 4_700), &of(10, 0)).unwrap();
        assert!(!found.drifted, "{found:?}");
        let found = check.categories(&of(1_000, 4_700), &of(0, 3_000)).unwrap();
        assert!(found.drifted, "only others: {found:?}");
    }

    #[test]
    fn settings_are_data() {
        let check: DriftCheck = serde_json::from_str(r#"{"method":"jensen_shannon","binning":"evidently"}"#).unwrap();
        assert_eq!(
            (check.method, check.threshold, check.binning),
            (Some(Method::JensenShannon), Threshold::Default, Binning::Evidently)
        );
        assert!(serde_json::from_str::<DriftCheck>(r#"{"methods":"psi"}"#).is_err());
    }

    const LEARNED: DriftCheck = DriftCheck { method: None, threshold: Threshold::Learned, binning: Binning::Reference };

    #[test]
    fn thresholds_are_learned_from_chunks_as_by_numpy() {
        use Method::{Hellinger, JensenShannon, KolmogorovSmirnov, KullbackLeibler, Psi, Wasserstein};
        let rows = || (0..400_u32).map(|row| (row * 7919 % 1009, row / 40));
        let numbers: Vec<f64> =
            rows().map(|(value, chunk)| f64::from(value) / 1009.0 + f64::from(chunk) * 0.01).collect();
        let chunks: Vec<Distribution> = numbers.chunks(40).map(|chunk| of(chunk.iter().copied())).collect();
        // What tests/drift/make_learned.py prints.
        for (method, expected) in [
            (Psi, 0.1460012692591018),
            (JensenShannon, 0.14652182168824662),
            (KullbackLeibler, 0.0769574238834102),
            (Hellinger, 0.14752024664780222),
            (Wasserstein, 0.24259066983168182),
            (KolmogorovSmirnov, 0.0975),
        ] {
            let found = LEARNED.learn_values(method, &of(numbers.iter().copied()), chunks.iter()).unwrap();
            assert!((found - expected).abs() < 1e-12, "{method:?}: {found}, and {expected} by numpy");
        }
        let names: Vec<u32> = rows().map(|(value, chunk)| value * (chunk + 20) / 4000).collect();
        let of_names = |names: &[u32]| {
            let mut all = Categories::default();
            names.iter().for_each(|name| all.add_many(&name.to_string(), 1));
            all
        };
        let chunks: Vec<Categories> = names.chunks(40).map(of_names).collect();
        for (method, expected) in [
            (Psi, 0.7348637804934354),
            (JensenShannon, 0.25226470867287587),
            (KullbackLeibler, 0.6015192646479273),
            (Hellinger, 0.2908110689325578),
        ] {
            let found = DriftCheck::learn_categories(method, &of_names(&names), chunks.iter()).unwrap();
            assert!((found - expected).abs() < 1e-12, "{method:?}: {found}, and {expected} by numpy");
        }
    }

    #[test]
    fn above_a_learned_threshold_is_drift() {
        let (reference, window) = (of([0.0, 2.0]), of([0.5, 2.5]));
        let by = |learned: f64| {
            LEARNED.values_by(&reference, &window, |method| {
                assert_eq!(method, Method::JensenShannon, "a distance, though there are few rows");
                Ok(learned)
            })
        };
        let found = by(0.5).unwrap();
        assert_eq!((found.threshold, found.drifted), (0.5, true));
        assert!(!by(found.value).unwrap().drifted, "it is not above itself");
        let by_itself = LEARNED.values_by(&reference, &reference, |_| Ok(0.0)).unwrap();
        assert_eq!((by_itself.value, by_itself.drifted), (0.0, false), "what never changes does not drift");
    }

    #[test]
    fn with_a_learned_threshold_kolmogorov_smirnov_is_a_distance() {
        let check = DriftCheck { method: Some(Method::KolmogorovSmirnov), ..LEARNED };
        let found = check.values_by(&of([1.0, 2.0]), &of([2.0, 3.0]), |_| Ok(0.4)).unwrap();
        assert_eq!((found.value, found.drifted), (0.5, true));
        assert_eq!(found.kolmogorov_smirnov.map(|both| (both.distance, both.p_value)), Some((0.5, 1.0)));
    }

    #[test]
    fn a_threshold_that_cannot_be_learned_is_an_error() {
        let some = of([1.0, 2.0]);
        assert_eq!(LEARNED.values(&some, &some), Err(DriftError::FewChunks { chunks: 0 }));
        let empty = of([f64::NAN]);
        let learn = |chunks: &[&Distribution]| LEARNED.learn_values(Method::Psi, &some, chunks.iter().copied());
        assert_eq!(learn(&[&some, &empty, &empty]), Err(DriftError::FewChunks { chunks: 1 }));
        assert_eq!(learn(&[&some, &empty, &some]), Ok(0.0), "a chunk without values says nothing");
        let nothing = LEARNED.learn_values(Method::Psi, &empty, [&some, &some].into_iter());
        assert_eq!(nothing, Err(DriftError::FewChunks { chunks: 0 }));
        let mut names = Categories::default();
        names.add_many("a", 3);
        assert_eq!(LEARNED.categories(&names, &names), Err(DriftError::FewChunks { chunks: 0 }));
        for method in [Method::Z, Method::ChiSquare] {
            let check = DriftCheck { method: Some(method), ..LEARNED };
            assert_eq!(check.values(&some, &some), Err(DriftError::NotLearned { method }));
            assert_eq!(check.categories(&names, &names), Err(DriftError::NotLearned { method }));
        }
    }
}
