//! What the page and `/api/v1/drift` show of a window of a version: what was found, and the two histograms of each feature.
//!
//! It is made once per window. Features come worst first; the best ones have no histogram if there are very many.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::baseline::{Baseline, Reference};
use super::bins::{Placed, Sides};
use super::categories::{Categories, CategoryKey};
use super::collect::Seen;
use super::compare::by_category;
use super::method::Method;
use super::report::{DriftReport, Looks, Verdict};
use super::threshold::Threshold;
use super::values::Distribution;

/// Number of bins between the edges of a histogram.
const BINS: usize = 40;
/// Number of categories that are shown by name.
const NAMES: usize = 12;
/// Length of a name that is shown, in characters.
const LONGEST_NAME: usize = 60;
/// Number of features that have a histogram: the worst ones. A page asks for all of it every two seconds.
const HISTOGRAMS: usize = 100;

#[derive(Serialize)]
struct Window<'a> {
    start_ms: i64,
    end_ms: i64,
    records: u64,
    /// The worst first.
    features: Vec<Feature<'a>>,
}

#[derive(Serialize)]
struct Feature<'a> {
    name: &'a str,
    verdict: Verdict,
    reason: Option<&'a str>,
    method: Option<Method>,
    value: Option<f64>,
    threshold: Option<f64>,
    /// Which values are drift, compared with the threshold.
    drift_if: Option<DriftIf>,
    n: u64,
    n_reference: u64,
    missing_share: f64,
    missing_share_reference: f64,
    /// Whether the two shares of missing values differ so much that this is drift.
    missing_drifted: bool,
    mean: Option<f64>,
    mean_reference: Option<f64>,
    histogram: Option<Histogram>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum DriftIf {
    Above,
    AtLeast,
    AtMost,
    Below,
}

/// The shares of the values that fall into each bin, in the training data and in the window.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Histogram {
    /// Below the first edge, between each two, and above the last one.
    Between { edges: Vec<f64>, reference: Vec<f64>, window: Vec<f64> },
    /// Of each label: a number, a name, or null for all others.
    Labelled { labels: Vec<Value>, reference: Vec<f64>, window: Vec<f64> },
}

/// Returns what is shown of a window.
pub(super) fn shown(looks: &Looks, reports: &[DriftReport], seen: &Seen, baseline: Option<&Baseline>) -> Value {
    let Some(first) = reports.first() else { return Value::Null };
    let numbers = looks.numbers.iter().zip(&seen.numbers).map(|(_, values)| Column::Numbers(values));
    let texts = looks.texts.iter().zip(&seen.texts).map(|(_, values)| Column::Categories(values));
    let columns = numbers.chain(texts).chain([Column::Scores(&seen.scores)]);
    let mut features: Vec<(Feature<'_>, Column<'_>)> =
        reports.iter().zip(columns).map(|(report, column)| (Feature::of(looks, report, baseline), column)).collect();
    features.sort_by(|(a, _), (b, _)| worse_first(a, b));
    for (feature, column) in features.iter_mut().take(HISTOGRAMS) {
        feature.histogram = baseline.and_then(|baseline| column.histogram(feature.name, baseline));
    }
    let (start_ms, end_ms, records) = (first.start.0, first.end.0, first.records);
    let window =
        Window { start_ms, end_ms, records, features: features.into_iter().map(|(feature, _)| feature).collect() };
    serde_json::to_value(window).unwrap_or_default()
}

impl<'a> Feature<'a> {
    fn of(looks: &Looks, report: &'a DriftReport, baseline: Option<&Baseline>) -> Self {
        let check = baseline.and_then(|baseline| baseline.checks.get(&report.feature)).unwrap_or(&looks.check);
        let drift_if = report.method.map(|method| match (check.threshold, method) {
            (Threshold::Learned, _) => DriftIf::Above,
            (_, Method::KolmogorovSmirnov) => DriftIf::AtMost,
            (_, method) if method.is_p_value() => DriftIf::Below,
            _ => DriftIf::AtLeast,
        });
        let missing = (report.missing_share - report.missing_share_reference).abs();
        let least = baseline.and_then(|baseline| baseline.presence.get(&report.feature));
        let is_rare = report.records > 0 && least.is_some_and(|least| 1.0 - report.missing_share < *least);
        Self {
            name: &report.feature,
            verdict: report.verdict,
            reason: report.reason.as_deref(),
            method: report.method,
            value: report.value,
            threshold: report.threshold,
            drift_if,
            n: report.n,
            n_reference: report.n_reference,
            missing_share: report.missing_share,
            missing_share_reference: report.missing_share_reference,
            missing_drifted: missing >= looks.missing_threshold || is_rare,
            mean: report.mean,
            mean_reference: report.mean_reference,
            histogram: None,
        }
    }

    /// Returns how near a value is to being drift: 1 is at the threshold.
    fn nearness(&self) -> f64 {
        // What goes missing may have no value left to compare.
        let least = if self.missing_drifted { 1.0 } else { 0.0 };
        let (Some(value), Some(threshold)) = (self.value, self.threshold) else { return least };
        let nearness = match self.drift_if {
            Some(DriftIf::AtMost | DriftIf::Below) => threshold / value,
            _ => value / threshold,
        };
        // Of a feature that has learned 0 the distance is 0, too.
        nearness.max(least)
    }
}

/// What has drifted comes first, then what is not known, and each by how near it is to its threshold.
fn worse_first(a: &Feature<'_>, b: &Feature<'_>) -> Ordering {
    let rank = |feature: &Feature<'_>| match feature.verdict {
        Verdict::Drifted => 0,
        Verdict::Inconclusive => 1,
        Verdict::Steady => 2,
    };
    rank(a).cmp(&rank(b)).then(b.nearness().total_cmp(&a.nearness()))
}

/// The values of a window.
enum Column<'a> {
    Numbers(&'a Distribution),
    Categories(&'a Categories),
    Scores(&'a Distribution),
}

impl Column<'_> {
    /// Returns the histograms, if the training data has values of the same kind.
    fn histogram(&self, name: &str, baseline: &Baseline) -> Option<Histogram> {
        match (self, baseline.features.get(name)) {
            (Self::Scores(window), _) => of_numbers(baseline.scores.as_ref()?, window),
            (Self::Numbers(window), Some(Reference::Numbers(reference))) => of_numbers(reference, window),
            (Self::Categories(window), Some(Reference::Categories(reference))) => of_categories(reference, window),
            _ => None,
        }
    }
}

fn of_numbers(reference: &Distribution, window: &Distribution) -> Option<Histogram> {
    if reference.count() == 0 {
        return None;
    }
    let (reference, window) = (reference.settled(), window.settled());
    Some(match (Sides { reference: &reference, window: &window }).placed(BINS) {
        Placed::Between { edges, counts } => {
            let (reference, window) = rounded(counts.shares());
            Histogram::Between { edges, reference, window }
        }
        Placed::At { values, counts } => {
            let (reference, window) = rounded(counts.shares());
            Histogram::Labelled {
                labels: values.into_iter().map(Value::from).chain([Value::Null]).collect(),
                reference,
                window,
            }
        }
    })
}

fn of_categories(reference: &Categories, window: &Categories) -> Option<Histogram> {
    if reference.count() == 0 {
        return None;
    }
    let share = |count: f64, all: u64| count / all.max(1) as f64;
    let mut named: Vec<(String, (f64, f64))> = Vec::new();
    let mut others = (0.0, 0.0);
    for (key, (of_reference, of_window)) in by_category(reference, window) {
        let shares = (share(of_reference, reference.count()), share(of_window, window.count()));
        match key {
            CategoryKey::Unknown(name) => named.push((name.to_owned(), shares)),
            CategoryKey::Known(index) => named.push((format!("#{index}"), shares)),
            CategoryKey::Other => others = shares,
        }
    }
    // A category that is new is as much worth a name as one that has gone.
    named.sort_by(|(_, a), (_, b)| b.0.max(b.1).total_cmp(&a.0.max(a.1)));
    for (_, shares) in named.drain(NAMES.min(named.len())..) {
        others = (others.0 + shares.0, others.1 + shares.1);
    }
    named.sort_by(|(_, a), (_, b)| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let labels = named.iter().map(|(name, _)| Value::from(cut(name))).chain([Value::Null]).collect();
    let (reference, window) = rounded(named.iter().map(|(_, shares)| *shares).chain([others]).unzip());
    Some(Histogram::Labelled { labels, reference, window })
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// Rounds shares to a millionth, which is less than a picture shows. Without values there are none.
fn rounded((reference, window): (Vec<f64>, Vec<f64>)) -> (Vec<f64>, Vec<f64>) {
    let of = |shares: Vec<f64>| {
        let round = |share: f64| if share.is_finite() { (share * 1e6).round() / 1e6 } else { 0.0 };
        shares.into_iter().map(round).collect()
    };
    (of(reference), of(window))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidemill_engine::EventTime;

    use super::*;
    use crate::drift::report::Thresholds;
    use crate::drift::{DriftCheck, SCORES};

    fn numbers(values: impl IntoIterator<Item = f64>) -> Distribution {
        let mut all = Distribution::default();
        values.into_iter().for_each(|value| all.add(Some(value)));
        all
    }

    fn names(names: &[(&str, u64)]) -> Categories {
        let mut all = Categories::default();
        names.iter().for_each(|(name, count)| all.add_many(name, *count));
        all
    }

    fn labelled(histogram: Option<Histogram>) -> (Vec<Value>, Vec<f64>, Vec<f64>) {
        match histogram {
            Some(Histogram::Labelled { labels, reference, window }) => (labels, reference, window),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_shown_between_the_edges_of_the_training_data() {
        let reference = numbers((0..1000).map(f64::from));
        let window = numbers((500..1500).map(f64::from).chain([-1.0, f64::NAN, f64::INFINITY]));
        let Some(Histogram::Between { edges, reference, window }) = of_numbers(&reference, &window) else {
            panic!("there are many values")
        };
        assert_eq!((edges[0], *edges.last().unwrap()), (0.0, 999.0));
        assert!(edges.len() <= BINS + 1 && reference.len() == edges.len() + 1 && window.len() == reference.len());
        for side in [&reference, &window] {
            assert!((side.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{side:?}");
        }
        assert_eq!((reference[0], *reference.last().unwrap()), (0.0, 0.0));
        assert!(window[0] > 0.0 && (*window.last().unwrap() - 0.5).abs() < 0.01, "{window:?}");
    }

    #[test]
    fn few_numbers_are_shown_one_by_one_and_what_is_new_together() {
        let found = of_numbers(&numbers([0.0, 0.0, 1.0, 1.0]), &numbers([1.0, 1.0, 7.5, 9.0]));
        assert_eq!(
            labelled(found),
            (vec![json!(0.0), json!(1.0), json!(null)], vec![0.5, 0.5, 0.0], vec![0.0, 0.5, 0.5])
        );
    }

    #[test]
    fn nothing_on_one_side_is_no_fault() {
        assert_eq!(of_numbers(&numbers([f64::NAN]), &numbers([1.0])), None);
        assert_eq!(of_categories(&names(&[]), &names(&[("a", 1)])), None);
        let found = of_numbers(&numbers([1.0]), &numbers([]));
        assert_eq!(labelled(found), (vec![json!(1.0), json!(null)], vec![1.0, 0.0], vec![0.0, 0.0]));
        let found = of_categories(&names(&[("a", 1)]), &names(&[]));
        assert_eq!(labelled(found), (vec![json!("a"), json!(null)], vec![1.0, 0.0], vec![0.0, 0.0]));
    }

    #[test]
    fn the_most_frequent_categories_of_either_side_have_names() {
        let many: Vec<(String, u64)> = (0..30).map(|at| (format!("c{at:02}"), 100 - at)).collect();
        let many: Vec<(&str, u64)> = many.iter().map(|(name, count)| (&**name, *count)).collect();
        let long = "ä".repeat(500);
        let (labels, reference, window) = labelled(of_categories(&names(&many), &names(&[("c01", 5), (&long, 15)])));
        assert_eq!((labels.len(), &labels[0], labels.last()), (NAMES + 1, &json!("c00"), Some(&Value::Null)));
        assert_eq!(
            labels[NAMES - 1],
            json!(format!("{}…", "ä".repeat(LONGEST_NAME))),
            "it is new, and most of the window"
        );
        assert_eq!((window[1], window[NAMES - 1], window[NAMES]), (0.25, 0.75, 0.0));
        assert!((reference.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{reference:?}");
    }

    fn seen_and_baseline(features: usize) -> (Looks, Seen, Baseline) {
        let all: Vec<&'static str> = (0..features).map(|at| &*String::leak(format!("f{at}"))).collect();
        let looks = Looks {
            numbers: all.clone(),
            texts: vec!["country"],
            min_records: 100,
            check: DriftCheck { method: Some(Method::Psi), ..DriftCheck::default() },
            missing_threshold: 0.05,
        };
        let column = |by: usize| numbers((0..500).map(|at| f64::from(at) + by as f64));
        let seen = Seen {
            records: 500,
            numbers: (0..features).map(column).collect(),
            texts: vec![names(&[("DE", 500)])],
            scores: column(0),
        };
        let of = |name: &&str| ((*name).to_owned(), Reference::Numbers(column(0)));
        let mut baseline =
            Baseline { features: all.iter().map(of).collect(), scores: Some(column(0)), ..Baseline::default() };
        baseline.features.insert("country".to_owned(), Reference::Categories(names(&[("DE", 300), ("FR", 200)])));
        (looks, seen, baseline)
    }

    fn shown_of(looks: &Looks, seen: &Seen, baseline: Result<&Baseline, &str>) -> Value {
        let times = (EventTime(0), EventTime(60_000));
        let reports = looks.report("m/1", times, seen, baseline, &mut Thresholds::default());
        shown(looks, &reports, seen, baseline.ok())
    }

    #[test]
    fn the_worst_features_come_first_and_have_histograms() {
        let (looks, seen, baseline) = seen_and_baseline(200);
        let all = shown_of(&looks, &seen, Ok(&baseline));
        assert_eq!((&all["start_ms"], &all["end_ms"], &all["records"]), (&json!(0), &json!(60_000), &json!(500)));
        let features = all["features"].as_array().unwrap();
        assert_eq!(features.len(), 202);
        assert_eq!((&features[0]["name"], &features[0]["drift_if"]), (&json!("f199"), &json!("at_least")));
        let country = features.iter().find(|feature| feature["name"] == "country").unwrap();
        assert_eq!(
            (&country["verdict"], &country["histogram"]["labels"]),
            (&json!("drifted"), &json!(["DE", "FR", null]))
        );
        let verdicts: Vec<&str> = features.iter().map(|feature| feature["verdict"].as_str().unwrap()).collect();
        let first_steady = verdicts.iter().position(|verdict| *verdict == "steady").unwrap();
        assert!(
            first_steady > 1 && verdicts[first_steady..].iter().all(|verdict| *verdict == "steady"),
            "{verdicts:?}"
        );
        let value = |at: usize| features[at]["value"].as_f64().unwrap();
        assert!((1..first_steady).all(|at| value(at - 1) >= value(at)));
        assert_eq!(features.iter().filter(|feature| feature["histogram"].is_object()).count(), HISTOGRAMS);
        assert!(all.to_string().len() < 200_000, "{}", all.to_string().len());
    }

    #[test]
    fn a_small_p_value_is_worse_than_a_large_one_and_a_learned_threshold_is_of_a_distance() {
        let (looks, mut seen, baseline) = seen_and_baseline(2);
        seen.numbers =
            vec![numbers((0..500).map(|at| f64::from(at) + 10.0)), numbers((0..500).map(|at| f64::from(at) + 30.0))];
        let check = DriftCheck { method: Some(Method::KolmogorovSmirnov), ..DriftCheck::default() };
        let looks = Looks { check, texts: Vec::new(), ..looks };
        let all = shown_of(&looks, &seen, Ok(&baseline));
        let names: Vec<&Value> = all["features"].as_array().unwrap().iter().map(|feature| &feature["name"]).collect();
        assert_eq!(
            (names, &all["features"][0]["drift_if"]),
            (vec![&json!("f1"), &json!("f0"), &json!(SCORES)], &json!("at_most"))
        );
        let learned = Looks { check: DriftCheck { threshold: Threshold::Learned, ..check }, ..looks };
        let report = DriftReport {
            method: Some(Method::KolmogorovSmirnov),
            ..learned.report("m", (EventTime(0), EventTime(1)), &seen, Ok(&baseline), &mut Thresholds::default())[0]
                .clone()
        };
        assert_eq!(Feature::of(&learned, &report, Some(&baseline)).drift_if, Some(DriftIf::Above));
    }

    #[test]
    fn a_version_without_a_baseline_is_shown_with_the_reason() {
        let (looks, seen, _) = seen_and_baseline(1);
        let all = shown_of(&looks, &seen, Err("there is none"));
        let features = all["features"].as_array().unwrap();
        assert_eq!(features.len(), 3);
        for feature in features {
            assert_eq!((&feature["reason"], &feature["histogram"]), (&json!("there is none"), &Value::Null));
        }
    }
}
