//! The sample of a stream of scored records: rows of those that came together.

use std::sync::Arc;

use tidemill_engine::{Data, Flow, Record};

use super::collect::Rows;
use super::hash::of_record;
use super::parts::{Part, window_of};
use crate::infer::{FeatureCell, FeatureKind, Features, ModelInfo, Scored};
use crate::window::{Cut, Window};

/// The most parts that are tried until one is found that is counted on this worker.
const TRIED: u32 = 4096;

/// Takes records into the sample by their event time and score: of those that have both in common, all or none.
pub(super) struct Sampler {
    share: f64,
    /// The windows. Of the records that come together, those of one window are late together.
    cut: Cut,
    /// What each feature is, and its column among those of its kind.
    columns: Vec<(FeatureKind, usize)>,
    /// The number of columns of numbers, and of texts.
    width: (usize, usize),
    owner: Box<dyn Fn(&Part) -> usize>,
    worker: usize,
    /// The last version, how it is shown, and the part of it that is counted on this worker: nearly all records are of
    /// the same.
    last: Option<(Arc<ModelInfo>, String, u32)>,
}

/// Rows that are being collected.
struct Open {
    model: Arc<ModelInfo>,
    window: Window,
    rows: Record<Rows>,
}

impl Sampler {
    pub(super) fn new<F: Features>(share: f64, cut: Cut, flow: &Flow<'_>) -> Self {
        let (mut numbers, mut texts) = (0, 0);
        let kinds = (0..F::NAMES.len()).map(|at| F::KINDS.get(at).copied().unwrap_or_default());
        let columns = kinds.map(|kind| {
            let column = if kind == FeatureKind::Text { &mut texts } else { &mut numbers };
            *column += 1;
            (kind, *column - 1)
        });
        let columns = columns.collect();
        let owner = Box::new(flow.owner());
        Self { share, cut, columns, width: (numbers, texts), owner, worker: flow.worker(), last: None }
    }

    /// Returns the rows of the records that are in the sample. Their event time is the last one of their records.
    pub(super) fn rows<D: Data, F: Features>(
        &mut self,
        records: &[Record<Scored<D>>],
        features: impl Fn(&D) -> &F,
    ) -> Vec<Record<Rows>> {
        let mut all: Vec<Open> = Vec::new();
        for scored in records {
            let Scored { record, score, model, .. } = &scored.data;
            // A default score is not that of a version.
            let Some(model) = model else { continue };
            let (time, score) = (scored.event_time, f64::from(*score));
            if !self.takes(time.0, score) {
                continue;
            }
            let is_of = |open: &Open| Arc::ptr_eq(&open.model, model) && open.window.holds(time);
            let at = all.iter().rposition(is_of).unwrap_or_else(|| {
                all.push(self.open(model, scored));
                all.len() - 1
            });
            let Record { event_time, data: rows, .. } = &mut all[at].rows;
            *event_time = time.max(*event_time);
            self.add(features(record), rows);
            rows.scores.push(score);
        }
        all.into_iter().map(|open| open.rows).collect()
    }

    fn takes(&self, time: i64, score: f64) -> bool {
        let hash = || of_record(time, score) >> 32;
        self.share >= 1.0 || (hash() as f64) < self.share * 4_294_967_296.0
    }

    fn open<D>(&mut self, model: &Arc<ModelInfo>, first: &Record<Scored<D>>) -> Open {
        let Self { cut, owner, worker, last, .. } = self;
        if last.as_ref().is_none_or(|(last, ..)| !Arc::ptr_eq(last, model)) {
            let shown = model.to_string();
            // What is counted where it was scored need not be sent anywhere.
            let is_here = |part: &u32| owner(&(shown.clone(), *part)) == *worker;
            let part = (0..TRIED).find(is_here).unwrap_or_default();
            *last = Some((Arc::clone(model), shown, part));
        }
        let mut rows = Rows::default();
        if let Some((_, shown, part)) = last {
            (rows.model, rows.part) = (shown.clone(), *part);
        }
        let Record { event_time, arrival, .. } = *first;
        let window = window_of(*cut, event_time);
        Open { model: Arc::clone(model), window, rows: Record { event_time, arrival, data: rows } }
    }

    fn add<F: Features>(&self, features: &F, rows: &mut Rows) {
        let (of_numbers, of_texts) = self.width;
        let (numbers, texts) = (rows.numbers.len(), rows.texts.len());
        rows.numbers.resize(numbers + of_numbers, f64::NAN);
        rows.texts.resize(texts + of_texts, None);
        let (numbers, texts) = (&mut rows.numbers[numbers..], &mut rows.texts[texts..]);
        if of_texts == 0 {
            // As below, in fewer instructions.
            features.visit(&mut |at, cell| {
                if let (Some(number), FeatureCell::Number(value)) = (numbers.get_mut(at), cell) {
                    *number = value;
                }
            });
            return;
        }
        features.visit(&mut |at, cell| match (self.columns.get(at), cell) {
            (Some((FeatureKind::Number, at)), FeatureCell::Number(value)) => numbers[*at] = value,
            (Some((FeatureKind::Text, at)), FeatureCell::Text(text)) => texts[*at] = Some(text.to_owned()),
            _ => {}
        });
    }
}
