//! A reference against a window: which statistic, its value, and whether that is drift.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bins::{Binning, Counts, Sides};
use super::categories::{Categories, CategoryKey};
use super::method::FEW;
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
    /// The threshold; by default [`Method::default_threshold`].
    pub threshold: Option<f64>,
    /// How numbers are cut into bins. Kolmogorov-Smirnov, Wasserstein, chi-square and Z do not use it.
    pub binning: Binning,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The statistic.
    pub method: Method,
    /// Its value: a p-value or a distance; see [`Method`].
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
    /// [`DriftError::Empty`] if one side has no finite values.
    pub fn values(&self, reference: &Distribution, window: &Distribution) -> Result<Comparison, DriftError> {
        not_empty(reference.count(), window.count())?;
        let (reference, window) = (reference.settled(), window.settled());
        let sides = Sides { reference: &reference, window: &window };
        let method = self.method.unwrap_or_else(|| Method::for_numbers(reference.count, sides.distinct_up_to(FEW)));
        let mut kolmogorov_smirnov = None;
        let value = match method {
            Method::Psi => distance::psi(&sides.binned(self.binning)),
            Method::JensenShannon => distance::jensen_shannon(&sides.binned(self.binning)),
            Method::KullbackLeibler => distance::kullback_leibler(&sides.binned(self.binning)),
            Method::Hellinger if self.binning == Binning::Evidently => distance::hellinger(&sides.binned_by_distinct()),
            Method::Hellinger => distance::hellinger(&sides.binned(self.binning)),
            Method::ChiSquare => distance::chi_square(&sides.by_value()),
            Method::Z => distance::z(&sides.by_value()),
            Method::KolmogorovSmirnov => kolmogorov_smirnov.insert(largest_distance(&sides)).p_value,
            Method::Wasserstein => {
                let [left, right] = sides.points();
                steps::between(&left, &right).area / reference.moments.deviation(reference.count).max(LEAST_DEVIATION)
            }
        };
        Ok(Comparison { kolmogorov_smirnov, ..self.comparison(method, value, reference.count, window.count) })
    }

    /// Compares categories that are counted by one vocabulary.
    ///
    /// # Errors
    /// [`DriftError::Empty`] if one side has no values; [`DriftError::NeedsNumbers`] for Kolmogorov-Smirnov and
    /// Wasserstein.
    pub fn categories(&self, reference: &Categories, window: &Categories) -> Result<Comparison, DriftError> {
        let (n_reference, n) = (reference.count(), window.count());
        not_empty(n_reference, n)?;
        let mut both: BTreeMap<CategoryKey<'_>, (f64, f64)> = BTreeMap::new();
        // What one side has counted together is compared together.
        let last = [reference.last_counted(), window.last_counted()].into_iter().flatten().min();
        reference.counts(last).into_iter().for_each(|(key, count)| both.entry(key).or_default().0 = count as f64);
        window.counts(last).into_iter().for_each(|(key, count)| both.entry(key).or_default().1 = count as f64);
        let counts = Counts::of(both.into_values(), n_reference, n);
        let method = self.method.unwrap_or_else(|| Method::for_categories(n_reference, counts.bins.len()));
        let value = match method {
            Method::Psi => distance::psi(&counts),
            Method::JensenShannon => distance::jensen_shannon(&counts),
            Method::KullbackLeibler => distance::kullback_leibler(&counts),
            Method::Hellinger => distance::hellinger(&counts),
            Method::ChiSquare => distance::chi_square(&counts),
            Method::Z => distance::z(&counts),
            Method::KolmogorovSmirnov | Method::Wasserstein => return Err(DriftError::NeedsNumbers { method }),
        };
        Ok(self.comparison(method, value, n_reference, n))
    }

    fn comparison(&self, method: Method, value: f64, n_reference: u64, n: u64) -> Comparison {
        let threshold = self.threshold.unwrap_or_else(|| method.default_threshold());
        let drifted = method.is_drift(value, threshold);
        Comparison { method, value, threshold, drifted, n_reference, n, kolmogorov_smirnov: None }
    }
}

fn largest_distance(sides: &Sides<'_>) -> KolmogorovSmirnov {
    let [left, right] = sides.points();
    let (n, m) = (sides.reference.count, sides.window.count);
    let largest = steps::between(&left, &right).largest;
    KolmogorovSmirnov { distance: largest as f64 / (n as f64 * m as f64), p_value: smirnov::p_value(n, m, largest) }
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
        let check = DriftCheck { method: Some(Method::Wasserstein), threshold: Some(0.5), ..DriftCheck::default() };
        let result = check.values(&of([0.0, 2.0]), &of([0.5, 2.5, 0.5, 2.5])).unwrap();
        assert_eq!((result.value, result.drifted, result.n_reference, result.n), (0.5, true, 2, 4));
        let result = DriftCheck { threshold: Some(0.51), ..check }.values(&of([0.0, 2.0]), &of([0.5, 2.5])).unwrap();
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
            (Some(Method::JensenShannon), None, Binning::Evidently)
        );
        assert!(serde_json::from_str::<DriftCheck>(r#"{"methods":"psi"}"#).is_err());
    }
}
