//! What a window of a version came to.

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::judged::Counts;
use super::settings::QualitySettings;
use crate::drift::points_of_both;
use crate::infer::ModelRole;
use crate::ranked::Ranked;

/// How well a version has scored the records whose labels became known in a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    /// The version, as predictions name it.
    pub model: String,
    /// The part that it had in scoring.
    pub role: ModelRole,
    /// The window, in which the labels became known, from its first millisecond to the one after its last.
    pub start: EventTime,
    /// The end of the window.
    pub end: EventTime,
    /// Why the measures say little or nothing: fewer records than `min_records`, or scores that are no probabilities.
    pub reason: Option<String>,
    /// Number of records with a score and a truth.
    pub records: u64,
    /// Number of positive ones among them.
    pub positives: u64,
    /// Number of records of which nothing will be known.
    pub unknown: u64,
    /// Number of records with a truth that the model did not score, or not with a number.
    pub without_score: u64,
    /// Mean time from a record to its truth, in milliseconds.
    pub mean_delay_ms: Option<f64>,
    /// Mean of −ln of the probability that the score gives to what came true; none if scores are no probabilities.
    pub log_loss: Option<f64>,
    /// How often a positive record has a higher score than a negative one; none if there is only one kind.
    pub roc_auc: Option<f64>,
    /// Precision at each score, weighted by the positive records that it adds; none if there are none.
    pub average_precision: Option<f64>,
    /// Share of positive records among the `k` with the highest scores, for each `k` of the settings.
    pub precision_at: Vec<(u64, f64)>,
    /// Number of records with a score above the threshold.
    pub alerts: u64,
    /// Share of positive records among the alerts.
    pub precision: Option<f64>,
    /// Share of alerts among the positive records.
    pub recall: Option<f64>,
    /// Whether all scores are known, not only their buckets: then ROC AUC, average precision and precision at `k` are
    /// exact.
    pub exact: bool,
}

impl QualityReport {
    pub(super) fn of(
        settings: &QualitySettings,
        (model, role): (String, ModelRole),
        (start, end): (EventTime, EventTime),
        counts: &Counts,
    ) -> Self {
        let Counts { positives, negatives, .. } = counts;
        let [by_score, others] = points_of_both(positives, negatives);
        let ranked = Ranked::of(&by_score, &others);
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        let records = counts.records();
        let few = format!("{records} records, and at least {} are needed", settings.min_records);
        let beyond = format!("{} scores are not from 0 to 1, so there is no log loss", counts.beyond);
        Self {
            model,
            role,
            start,
            end,
            reason: if records < settings.min_records { Some(few) } else { (counts.beyond > 0).then_some(beyond) },
            records,
            positives: positives.count(),
            unknown: counts.unknown,
            without_score: counts.without_score,
            mean_delay_ms: share(counts.waited_ms, records),
            log_loss: (records > 0 && counts.beyond == 0).then(|| counts.losses.mean(records)),
            roc_auc: ranked.roc_auc(),
            average_precision: ranked.average_precision(),
            precision_at: settings.at_k.iter().filter_map(|k| Some((*k, ranked.precision_at(*k)?))).collect(),
            alerts: counts.alerts,
            precision: share(counts.found, counts.alerts),
            recall: share(counts.found, positives.count()),
            exact: positives.is_exact() && negatives.is_exact(),
        }
    }
}
