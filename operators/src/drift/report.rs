//! What a window of a version came to, feature by feature.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::baseline::{Baseline, Reference};
use super::categories::Categories;
use super::collect::Seen;
use super::compare::{Comparison, DriftCheck};
use super::error::DriftError;
use super::method::Method;
use super::missing::MissingShare;
use super::values::Distribution;

/// The name under which scores are reported.
pub const SCORES: &str = "scores";

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The values are as in the training data.
    Steady,
    /// They are not, or more or fewer of them are missing.
    Drifted,
    /// Nothing is known: too few records, or nothing to compare with.
    Inconclusive,
}

/// The comparison of a feature, or of the scores, of a version in a window with its training data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The version, as predictions name it.
    pub model: String,
    /// The name of the feature, or `scores`.
    pub feature: String,
    /// The window, from its first millisecond to the one after its last.
    pub start: EventTime,
    /// The end of the window.
    pub end: EventTime,
    /// What was found.
    pub verdict: Verdict,
    /// Why nothing is known, if the verdict is inconclusive.
    pub reason: Option<String>,
    /// The statistic.
    pub method: Option<Method>,
    /// Its value: a p-value or a distance; see [`Method`].
    pub value: Option<f64>,
    /// What the value was compared with.
    pub threshold: Option<f64>,
    /// The largest distance of the distribution functions, if the method is that of Kolmogorov and Smirnov.
    pub distance: Option<f64>,
    /// Number of records of the sample in the window.
    pub records: u64,
    /// Number of values in the window, and in the training data.
    pub n: u64,
    /// Number of values in the training data.
    pub n_reference: u64,
    /// Share of records without a value in the window.
    pub missing_share: f64,
    /// Share of records without a value in the training data.
    pub missing_share_reference: f64,
    /// Mean of the values in the window, of numbers.
    pub mean: Option<f64>,
    /// Mean of the values in the training data, of numbers.
    pub mean_reference: Option<f64>,
}

/// A feature has begun to drift, or has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftAlert {
    /// Whether it has begun.
    pub firing: bool,
    /// Number of windows in a row that say so.
    pub windows: u32,
    /// The report of the last one.
    pub report: DriftReport,
}

/// How windows are looked at.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    /// The names of the features: of those that are numbers, and of those that are texts.
    pub(super) numbers: Vec<&'static str>,
    pub(super) texts: Vec<&'static str>,
    pub(super) min_records: u64,
    pub(super) check: DriftCheck,
    pub(super) missing_threshold: f64,
}

/// Thresholds that have been learned from a baseline: they are the same in each window. By name and method, since the
/// method may depend on what a window has.
#[derive(Default)]
pub(super) struct Thresholds(BTreeMap<(String, Method), Result<f64, DriftError>>);

impl Thresholds {
    fn get_or(
        &mut self,
        feature: &str,
        method: Method,
        learn: impl FnOnce() -> Result<f64, DriftError>,
    ) -> Result<f64, DriftError> {
        self.0.entry((feature.to_owned(), method)).or_insert_with(learn).clone()
    }
}

impl Looks {
    /// Reports on a window of a version. `learned` is of its baseline, and is added to.
    pub(super) fn report(
        &self,
        model: &str,
        (start, end): (EventTime, EventTime),
        seen: &Seen,
        baseline: Result<&Baseline, &str>,
        learned: &mut Thresholds,
    ) -> Vec<DriftReport> {
        let empty = |feature: &str| DriftReport {
            model: model.to_owned(),
            feature: feature.to_owned(),
            start,
            end,
            verdict: Verdict::Inconclusive,
            reason: None,
            method: None,
            value: None,
            threshold: None,
            distance: None,
            records: seen.records,
            n: 0,
            n_reference: 0,
            missing_share: 0.0,
            missing_share_reference: 0.0,
            mean: None,
            mean_reference: None,
        };
        let baseline = match baseline {
            Ok(baseline) => baseline,
            Err(reason) => {
                let all = self.numbers.iter().chain(&self.texts).copied().chain([SCORES]);
                return all.map(|feature| DriftReport { reason: Some(reason.to_owned()), ..empty(feature) }).collect();
            }
        };
        let mut reports = Vec::new();
        for (name, values) in self.numbers.iter().zip(&seen.numbers) {
            let chunks = baseline.chunks.iter().filter_map(|chunk| chunk.numbers(name));
            reports.push(match baseline.features.get(*name) {
                Some(Reference::Numbers(reference)) => {
                    self.numbers(empty(name), baseline, [reference, values], chunks, learned)
                }
                Some(Reference::Categories(_)) => other_kind(empty(name), "categories", "numbers"),
                None => unknown(empty(name)),
            });
        }
        for (name, values) in self.texts.iter().zip(&seen.texts) {
            let chunks = baseline.chunks.iter().filter_map(|chunk| chunk.categories(name));
            reports.push(match baseline.features.get(*name) {
                Some(Reference::Categories(reference)) => {
                    self.texts(empty(name), baseline, [reference, values], chunks, learned)
                }
                Some(Reference::Numbers(_)) => other_kind(empty(name), "numbers", "texts"),
                None => unknown(empty(name)),
            });
        }
        let chunks = baseline.chunks.iter().filter_map(|chunk| chunk.scores.as_ref());
        reports.push(match &baseline.scores {
            Some(reference) => self.numbers(empty(SCORES), baseline, [reference, &seen.scores], chunks, learned),
            None => unknown(empty(SCORES)),
        });
        reports
    }

    fn numbers<'a>(
        &self,
        report: DriftReport,
        baseline: &Baseline,
        [reference, values]: [&Distribution; 2],
        chunks: impl Iterator<Item = &'a Distribution>,
        learned: &mut Thresholds,
    ) -> DriftReport {
        let check = baseline.checks.get(&report.feature).unwrap_or(&self.check);
        let missing = MissingShare::of_values(reference, values, self.missing_threshold);
        let missing = missing.with_least(baseline.presence.get(&report.feature));
        let report = DriftReport { mean: values.mean(), mean_reference: reference.mean(), ..report };
        let compared = check.values_by(reference, values, |method| {
            learned.get_or(&report.feature, method, || check.learn_values(method, reference, chunks))
        });
        self.judge(report, compared, missing, (values.count(), reference.count()))
    }

    fn texts<'a>(
        &self,
        report: DriftReport,
        baseline: &Baseline,
        [reference, values]: [&Categories; 2],
        chunks: impl Iterator<Item = &'a Categories>,
        learned: &mut Thresholds,
    ) -> DriftReport {
        let check = baseline.checks.get(&report.feature).unwrap_or(&self.check);
        let missing = MissingShare::of_categories(reference, values, self.missing_threshold);
        let missing = missing.with_least(baseline.presence.get(&report.feature));
        let compared = check.categories_by(reference, values, |method| {
            learned.get_or(&report.feature, method, || DriftCheck::learn_categories(method, reference, chunks))
        });
        self.judge(report, compared, missing, (values.count(), reference.count()))
    }

    fn judge(
        &self,
        report: DriftReport,
        compared: Result<Comparison, DriftError>,
        missing: MissingShare,
        (n, n_reference): (u64, u64),
    ) -> DriftReport {
        let mut report = DriftReport {
            n,
            n_reference,
            missing_share: missing.window,
            missing_share_reference: missing.reference,
            ..report
        };
        let few = report.records < self.min_records;
        if few {
            report.reason = Some(format!("{} records, and at least {} are needed", report.records, self.min_records));
        }
        let drifted = match compared {
            Ok(found) => {
                (report.method, report.value) = (Some(found.method), Some(found.value));
                report.threshold = Some(found.threshold);
                report.distance = found.kolmogorov_smirnov.map(|both| both.distance);
                found.drifted
            }
            // A feature of which nothing is left is missing, and that is drift.
            Err(DriftError::Empty { side: "window" }) if missing.drifted => true,
            Err(error) => {
                report.reason.get_or_insert(error.to_string());
                missing.drifted
            }
        };
        report.verdict = match (&report.reason, drifted || missing.drifted) {
            _ if few => Verdict::Inconclusive,
            (_, true) => Verdict::Drifted,
            (Some(_), false) => Verdict::Inconclusive,
            (None, false) => Verdict::Steady,
        };
        report
    }
}

fn unknown(report: DriftReport) -> DriftReport {
    DriftReport { reason: Some("the baseline has nothing of it".to_owned()), ..report }
}

fn other_kind(report: DriftReport, baseline: &str, program: &str) -> DriftReport {
    DriftReport { reason: Some(format!("the baseline has {baseline} of it, and the program {program}")), ..report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Chunk, Threshold};

    fn looks() -> Looks {
        let check = DriftCheck { method: Some(Method::Psi), ..DriftCheck::default() };
        Looks { numbers: vec!["a", "b"], texts: vec!["c"], min_records: 100, check, missing_threshold: 0.05 }
    }

    fn even(count: u32, by: f64, missing: u32) -> Distribution {
        let mut all = Distribution::default();
        (0..count).for_each(|at| all.add(Some(f64::from(at) / f64::from(count) + by)));
        (0..missing).for_each(|_| all.add(None));
        all
    }

    fn baseline() -> Baseline {
        let features = [("a", even(1_000, 0.0, 0)), ("b", even(900, 0.0, 100))];
        let features = features.map(|(name, values)| (name.to_owned(), Reference::Numbers(values))).into();
        Baseline { features, scores: Some(even(1_000, 0.0, 0)), ..Baseline::default() }
    }

    fn seen(a: Distribution, b: Distribution, records: u64) -> Seen {
        let mut text = Categories::default();
        text.add(None);
        Seen { records, numbers: vec![a, b], texts: vec![text], scores: even(500, 0.0, 0) }
    }

    fn verdicts(looks: &Looks, seen: &Seen) -> Vec<(String, Verdict)> {
        let window = (EventTime(0), EventTime(60_000));
        let reports = looks.report("m/1", window, seen, Ok(&baseline()), &mut Thresholds::default());
        reports.into_iter().map(|report| (report.feature, report.verdict)).collect()
    }

    #[test]
    fn each_feature_and_the_scores_get_a_verdict() {
        use Verdict::{Drifted, Inconclusive, Steady};
        let of = |a: Distribution, b: Distribution, records: u64| {
            let found = verdicts(&looks(), &seen(a, b, records));
            assert_eq!(found.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a", "b", "c", SCORES]);
            found.iter().map(|(_, verdict)| *verdict).collect::<Vec<_>>()
        };
        let same = || even(500, 0.0, 56);
        assert_eq!(of(even(500, 0.0, 0), same(), 500), [Steady, Steady, Inconclusive, Steady]);
        assert_eq!(of(even(500, 0.5, 0), same(), 500), [Drifted, Steady, Inconclusive, Steady]);
        assert_eq!(of(even(500, 0.0, 0), even(400, 0.0, 100), 500)[1], Drifted, "a fifth is missing");
        assert_eq!(of(even(0, 0.0, 500), same(), 500)[0], Drifted, "nothing is left of it");
        assert_eq!(of(even(50, 0.5, 0), even(50, 0.5, 0), 50), [Inconclusive; 4]);
    }

    #[test]
    fn fewer_values_than_a_feature_has_to_have_are_drift() {
        let seen = seen(even(500, 0.0, 10), even(500, 0.0, 56), 510);
        let verdict = |least: f64| {
            let baseline = Baseline { presence: [("a".to_owned(), least)].into(), ..baseline() };
            let window = (EventTime(0), EventTime(60_000));
            looks().report("m/1", window, &seen, Ok(&baseline), &mut Thresholds::default())[0].verdict
        };
        assert_eq!((verdict(0.98), verdict(0.99)), (Verdict::Steady, Verdict::Drifted));
    }

    #[test]
    fn a_version_without_a_baseline_is_reported_as_that() {
        let window = (EventTime(0), EventTime(60_000));
        let seen = seen(even(9, 0.0, 0), even(9, 0.0, 0), 9);
        let found = looks().report("m/2", window, &seen, Err("there is none"), &mut Thresholds::default());
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|report| report.reason.as_deref() == Some("there is none")));
    }

    #[test]
    fn thresholds_are_learned_from_the_chunks_of_the_baseline() {
        let check =
            DriftCheck { method: Some(Method::Wasserstein), threshold: Threshold::Learned, ..DriftCheck::default() };
        let looks = Looks { check, texts: Vec::new(), ..looks() };
        let chunk = |by: f64| {
            let features = [("a", even(100, by, 0)), ("b", even(90, 0.0, 10))];
            let features = features.map(|(name, values)| (name.to_owned(), Reference::Numbers(values))).into();
            Chunk { features, scores: Some(even(100, 0.0, 0)) }
        };
        let chunks = (0..10).map(|at| chunk(f64::from(at) * 0.01)).collect();
        let learned = Baseline { chunks, ..baseline() };
        let mut thresholds = Thresholds::default();
        let report = |by: f64, baseline: &Baseline, thresholds: &mut Thresholds| {
            let seen = Seen { texts: Vec::new(), ..seen(even(500, by, 0), even(450, 0.0, 50), 500) };
            looks.report("m/1", (EventTime(0), EventTime(60_000)), &seen, Ok(baseline), thresholds)
        };
        let found = report(0.1, &learned, &mut thresholds);
        assert_eq!(found.iter().map(|report| report.verdict).collect::<Vec<_>>(), [Verdict::Steady; 3], "{found:?}");
        let (a, scores) = (found[0].threshold.unwrap(), found[2].threshold.unwrap());
        assert!(a > 0.3 && a < 0.5 && scores < 0.02, "{a} and {scores} deviations");
        let found = report(0.2, &learned, &mut thresholds);
        assert_eq!((found[0].verdict, found[0].threshold), (Verdict::Drifted, Some(a)), "it has been learned before");
        assert_eq!(thresholds.0.len(), 3);
        let found = report(0.2, &baseline(), &mut Thresholds::default());
        assert_eq!(found[0].verdict, Verdict::Inconclusive);
        assert!(found[0].reason.as_ref().is_some_and(|why| why.contains("values in 0 chunks")), "{found:?}");
    }
}
