//! The sample of a stream of scored records: rows of those that came together.

use std::sync::Arc;

use tidemill_engine::{Data, Flow, Record};

use super::collect::Rows;
use super::hash::of_record;
use super::parts::{Part, window_of};
use crate::infer::{FeatureCell, FeatureKind, Features, ModelInfo, Scored};
use crate::window::{Cut, Window};

/// Number of records whose features are written row by row, and then column by column: the nearest cache of a processor has
/// room for them.
const BLOCK: usize = 64;
/// The most parts that are tried until one is found that is counted on this worker.
const TRIED: u32 = 4096;

/// Takes records into the sample by their event time and score: of those that have both in common, all or none.
pub(super) struct Sampler {
    share: f64,
    /// The windows. Of the records that come together, those of one window are late together.
    cut: Cut,
    /// The features that are numbers, and those that are texts, by index.
    numbers: Vec<usize>,
    texts: Vec<usize>,
    /// Where the features of the records are written first, row by row.
    block: Vec<f64>,
    owner: Box<dyn Fn(&Part) -> usize>,
    worker: usize,
    /// The last version, how it is shown, and the part of it that is counted on this worker: nearly all records are of
    /// the same.
    last: Option<(Arc<ModelInfo>, String, u32)>,
}

/// The records of a version and a window, with their scores.
struct Chosen<'r, D> {
    model: &'r Arc<ModelInfo>,
    window: Window,
    records: Vec<(&'r Record<Scored<D>>, f64)>,
}

impl Sampler {
    pub(super) fn new<F: Features>(share: f64, cut: Cut, flow: &Flow<'_>) -> Self {
        let is_text = |at: &usize| F::KINDS.get(*at) == Some(&FeatureKind::Text);
        let (texts, numbers) = (0..F::NAMES.len()).partition(is_text);
        let owner = Box::new(flow.owner());
        Self { share, cut, numbers, texts, block: Vec::new(), owner, worker: flow.worker(), last: None }
    }

    /// Returns the rows of the records that are in the sample. Their event time is the last one of their records.
    pub(super) fn rows<D: Data, F: Features>(
        &mut self,
        records: &[Record<Scored<D>>],
        features: impl Fn(&D) -> &F,
    ) -> Vec<Record<Rows>> {
        let mut all: Vec<Chosen<'_, D>> = Vec::new();
        for record in records {
            let Scored { score, model, .. } = &record.data;
            // A default score is not that of a version.
            let Some(model) = model else { continue };
            let (time, score) = (record.event_time, f64::from(*score));
            if !self.takes(time.0, score) {
                continue;
            }
            let is_of = |chosen: &Chosen<'_, D>| Arc::ptr_eq(chosen.model, model) && chosen.window.holds(time);
            let at = all.iter().rposition(is_of).unwrap_or_else(|| {
                all.push(Chosen { model, window: window_of(self.cut, time), records: Vec::new() });
                all.len() - 1
            });
            all[at].records.push((record, score));
        }
        all.iter().filter_map(|chosen| self.columns(chosen, &features)).collect()
    }

    fn takes(&self, time: i64, score: f64) -> bool {
        let hash = || of_record(time, score) >> 32;
        self.share >= 1.0 || (hash() as f64) < self.share * 4_294_967_296.0
    }

    /// Writes the features of records column by column, as they are counted.
    fn columns<D: Data, F: Features>(
        &mut self,
        Chosen { model, window: _, records }: &Chosen<'_, D>,
        features: impl Fn(&D) -> &F,
    ) -> Option<Record<Rows>> {
        let event_time = records.iter().map(|(record, _)| record.event_time).max()?;
        let arrival = records.first()?.0.arrival;
        let (model, part) = self.part_of(model);
        let Self { numbers, texts, block, .. } = self;
        let (len, width) = (records.len(), F::NAMES.len());
        let mut rows = Rows { model, part, ..Rows::default() };
        rows.scores = records.iter().map(|(_, score)| *score).collect();
        if !numbers.is_empty() {
            rows.numbers = vec![f64::NAN; numbers.len() * len];
            for (few, begin) in records.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
                block.resize(width * few.len(), f64::NAN);
                let to = block.chunks_exact_mut(width).zip(few);
                to.for_each(|(row, (record, _))| features(&record.data.record).numbers(row));
                for (column, feature) in rows.numbers.chunks_exact_mut(len).zip(&*numbers) {
                    let values = block.iter().skip(*feature).step_by(width);
                    column.iter_mut().skip(begin).zip(values).for_each(|(cell, value)| *cell = *value);
                }
            }
        }
        if !texts.is_empty() {
            rows.texts = vec![None; texts.len() * len];
            for (at, (record, _)) in records.iter().enumerate() {
                features(&record.data.record).visit(&mut |feature, cell| {
                    if let (FeatureCell::Text(text), Ok(column)) = (cell, texts.binary_search(&feature)) {
                        rows.texts[column * len + at] = Some(text.to_owned());
                    }
                });
            }
        }
        Some(Record { event_time, arrival, data: rows })
    }

    /// Returns how a version is shown, and the part of it that is counted on this worker.
    fn part_of(&mut self, model: &Arc<ModelInfo>) -> (String, u32) {
        let Self { owner, worker, last, .. } = self;
        if let Some((_, shown, part)) = last.as_ref().filter(|(last, ..)| Arc::ptr_eq(last, model)) {
            return (shown.clone(), *part);
        }
        let shown = model.to_string();
        // What is counted where it was scored need not be sent anywhere.
        let is_here = |part: &u32| owner(&(shown.clone(), *part)) == *worker;
        let part = (0..TRIED).find(is_here).unwrap_or_default();
        *last = Some((Arc::clone(model), shown.clone(), part));
        (shown, part)
    }
}
