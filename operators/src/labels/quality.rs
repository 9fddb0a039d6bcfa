//! The quality of scores whose labels are known, by version, part and window.
//!
//! ```text
//! labelled ─▶ by version, part and shard: windows, counted ─▶ by version and part: the same windows, added up ─▶ report
//!    └─▶ canary and baseline: the rollout of the operator that scored
//! ```
//! Each record is judged by the score that it had before its label was known (prequential evaluation: test, then train).
//! Counts add up to the bit in any order, so reports do not depend on the number of workers.

use std::sync::Arc;

use tidemill_engine::{Data, JobError, Record, Stream};

use super::join::Labelled;
use super::judged::{Count, Counts, Judged, Judgement};
use super::report::QualityReport;
use super::settings::QualitySettings;
use crate::drift::hash_of_record;
use crate::infer::{Labels, ModelInfo, Scored};
use crate::length::invalid;
use crate::window::{Assigner, WindowExt, Windowed};

/// Number of parts in which a version is counted at first. It does not depend on the number of workers, so that the state
/// does not either.
const SHARDS: u64 = 16;

/// What came out of judging scores by labels.
pub struct QualityOutput<'s, D: Data, L: Data> {
    /// The records, unchanged.
    pub records: Stream<'s, Labelled<Scored<D>, L>>,
    /// A report for each version, part and window.
    pub reports: Stream<'s, QualityReport>,
}

/// Adds judgements to streams of scored records with labels.
pub trait QualityExt<'s, D: Data, L: Data> {
    /// Judges scores, in windows of the event time at which labels became known. `truth` says whether a record was
    /// positive, and what it means that it has no label: none, if nothing is known of it then.
    /// * Time: a report has the last millisecond of the window as its event time.
    /// * Guarantee: each record is judged once, by the score that it had. Late ones are not, as by any window. Records with
    ///   a default score are of no version, and are not judged.
    ///
    /// # Errors
    /// When a setting is out of its range, the name is taken, the state cannot be opened, or there is no operator of the
    /// name `rollout` whose versions can change.
    fn quality(
        self,
        name: &str,
        settings: &QualitySettings,
        truth: impl Fn(&D, Option<&L>) -> Option<bool> + 'static,
    ) -> Result<QualityOutput<'s, D, L>, JobError>;
}

impl<'s, D: Data, L: Data> QualityExt<'s, D, L> for Stream<'s, Labelled<Scored<D>, L>> {
    fn quality(
        self,
        name: &str,
        settings: &QualitySettings,
        truth: impl Fn(&D, Option<&L>) -> Option<bool> + 'static,
    ) -> Result<QualityOutput<'s, D, L>, JobError> {
        settings.check(name)?;
        let labels = settings.rollout.as_ref().map(|operator| Labels::of(self.flow(), operator)).transpose();
        let labels = labels.map_err(|fault| invalid(name, fault))?;
        let mut shown = Shown::default();
        let (records, judged) = self.derive(move |labelled: &Record<Labelled<Scored<D>, L>>| {
            let Labelled { record: Scored { record, score, model, role, .. }, at, label } = &labelled.data;
            let model = model.as_ref()?;
            let (score, truth) = (f64::from(*score), truth(record, label.as_ref()));
            if let (Some(labels), Some(truth)) = (&labels, truth) {
                labels.judged(model, *role, *at, score, truth);
            }
            let hash = hash_of_record(at.0, score);
            let of = (shown.of(model), *role);
            Some((Judgement { of, shard: (hash % SHARDS) as u8, score, at: *at, truth }, labelled.event_time))
        });
        let (window, threshold) = (Assigner::tumbling(settings.window), settings.threshold);
        let parts = judged
            .key_by(|(one, _)| (one.of.0.clone(), one.of.1, one.shard))
            .window(&format!("{name}-parts"), window)
            .aggregate(Count::above(threshold))?;
        let whole = parts
            .results
            .map(|part: Windowed<_, Counts>| {
                let (model, role, _) = part.key;
                ((model, role), part.value)
            })
            .key_by(|(of, _): &(Judged, Counts)| of.clone())
            .window(&format!("{name}-windows"), window)
            .aggregate(Count::above(threshold))?;
        let settings = settings.clone();
        let reports = whole.results.map(move |window: Windowed<Judged, Counts>| {
            let times = (window.window.start, window.window.end);
            QualityReport::of(&settings, window.key, times, &window.value)
        });
        Ok(QualityOutput { records, reports })
    }
}

/// How the last version is shown: nearly all records are of the same.
#[derive(Default)]
struct Shown {
    of: Option<Arc<ModelInfo>>,
    text: String,
}

impl Shown {
    fn of(&mut self, model: &Arc<ModelInfo>) -> String {
        if self.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, model)) {
            self.text = model.to_string();
            self.of = Some(Arc::clone(model));
        }
        self.text.clone()
    }
}
