//! The fallback ladder: the steps that are tried for a batch until each record has a score, or a reason for having
//! none.
//!
//! ```text
//! model ── Ok ─▶ scored
//!   │   └─ NaN, infinity ─▶ those records go on, without another run
//!   ├─ Unavailable ─▶ retry, with backoff (on threads only) ─▶ all its records go on
//!   └─ Batch ─▶ halves, down to the bad records alone ─▶ those go on
//!        └─▶ fallback model, the same way ─▶ scored by the fallback
//!              └─▶ default score, or dead letter: the operator decides
//! ```

use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::metrics::Counter;
use tidemill_engine::shell::BatchRunner;
use tidemill_engine::threads;

use super::backend::{ModelSource, RunError};
use super::error::ModelError;
use super::finite::Finite;
use super::live::Live;
use super::loaded::{Loaded, outputs_of, part_of};
use super::models::Models;
use super::tensor::Tensor;
use super::work::{Group, Place, Work};
use crate::pool::Retries;

/// Settings of the ladder: retries, checks of scores, and counters.
#[derive(Clone)]
pub(super) struct Rungs {
    /// The retries; none in line on a worker, which must not wait.
    pub(super) retries: Option<Retries>,
    /// The part of a row that must be finite.
    pub(super) finite: Finite,
    /// Number of rows of every run, where all must have the same number.
    pub(super) exact_rows: Option<usize>,
    pub(super) bisections: Counter,
    pub(super) not_finite: Counter,
}

/// The ladder of one thread.
pub(super) struct Ladder {
    /// The versions by their index; none where it is not used here yet, or not any more.
    versions: Vec<Option<Loaded>>,
    fallback: Option<Loaded>,
    rungs: Rungs,
    /// Where further versions come from, if there can be any.
    live: Option<Arc<Live>>,
    /// That of `live`, when the versions were last compared with it.
    generation: u64,
}

/// What is run for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    /// The version of the model with this index.
    Model(usize),
    Fallback,
}

/// The result for a group of records that is known before the group is processed.
enum Known {
    /// The run of the whole group failed.
    Failed(RunError),
    /// The run of the whole group succeeded; its outputs are the first part.
    Ran,
}

impl Ladder {
    /// Creates a ladder whose models are opened at their first use.
    pub(super) fn closed(models: &Models, rungs: Rungs, live: Option<Arc<Live>>) -> Self {
        let closed = |source: &Arc<dyn ModelSource>| Loaded::closed(source, rungs.exact_rows);
        let versions = models.versions().map(|source| Some(closed(source))).collect();
        Self { versions, fallback: models.fallback().map(closed), rungs, live, generation: 0 }
    }

    /// Opens the models now.
    pub(super) fn open(mut self) -> Result<Self, ModelError> {
        for model in self.versions.iter_mut().flatten().chain(&mut self.fallback) {
            model.open()?;
        }
        Ok(self)
    }

    /// Gets the versions that a batch needs, and drops those that nothing needs any more.
    fn fetch(&mut self, work: &Work) {
        let Some(live) = &self.live else { return };
        let generation = live.generation();
        if generation != self.generation {
            for (version, loaded) in self.versions.iter_mut().enumerate() {
                loaded.take_if(|_| !live.has(version));
            }
            self.generation = generation;
        }
        for group in work.groups() {
            if self.versions.len() <= group.version {
                self.versions.resize_with(group.version + 1, || None);
            }
            if let Some(missing @ None) = self.versions.get_mut(group.version) {
                *missing = live.take(group.version);
            }
        }
    }

    /// Runs a version without the fallback, to measure it.
    pub(super) fn probe(
        &mut self,
        version: usize,
        rows: usize,
        inputs: &[Tensor],
        outputs: &mut [Tensor],
    ) -> Result<(), RunError> {
        match self.versions.get_mut(version).and_then(Option::as_mut) {
            Some(loaded) => loaded.run(rows, inputs, outputs),
            None => Err(no_such_model()),
        }
    }

    /// Returns the model of a rung.
    fn model(&self, rung: Rung) -> Option<&Loaded> {
        match rung {
            Rung::Model(version) => self.versions.get(version).and_then(Option::as_ref),
            Rung::Fallback => self.fallback.as_ref(),
        }
    }

    /// Returns whether a row gets the same score at every place in a run of `rows` made-up rows.
    pub(super) fn is_exact(&mut self, rows: usize) -> Result<bool, RunError> {
        for model in self.versions.iter_mut().flatten().chain(&mut self.fallback) {
            if !model.is_exact(rows)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs one of the models, with retries while it is unavailable.
    fn attempt(&mut self, rung: Rung, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        let model = match rung {
            Rung::Model(version) => self.versions.get_mut(version).and_then(Option::as_mut),
            Rung::Fallback => self.fallback.as_mut(),
        };
        let Some(model) = model else { return Err(no_such_model()) };
        match &self.rungs.retries {
            // A client of a model server retries by itself.
            Some(retries) if !model.source().tries_again() => {
                retries.run(|| model.run(rows, inputs, outputs), |error| matches!(error, RunError::Unavailable(_)))
            }
            _ => model.run(rows, inputs, outputs),
        }
    }

    /// Handles every case except one successful run of all records.
    fn climb(&mut self, work: &mut Work, mut known: Option<Known>) {
        let len = work.len;
        work.places.resize(len, Place::Open);
        let mut out = Outcome {
            places: std::mem::take(&mut work.places),
            failures: std::mem::take(&mut work.failures),
            // The buffers of the first part are kept for the next batch.
            parts: work.parts.drain(..).take(1).collect(),
            took: std::mem::take(&mut work.took),
        };
        for group in work.groups() {
            let rows: Vec<usize> = (0..group.records.len()).collect();
            match &work.given_up {
                Some(reason) => out.fail(group, &rows, reason, false),
                None => self.bisect(Rung::Model(group.version), group, &rows, known.take(), &mut out),
            }
            if self.fallback.is_some() {
                let failed = |row: &usize| matches!(out.places.get(group.records[*row]), Some(Place::Failed(_)));
                let rows: Vec<usize> = rows.iter().copied().filter(failed).collect();
                if !rows.is_empty() {
                    self.bisect(Rung::Fallback, group, &rows, None, &mut out);
                }
            }
        }
        Outcome { places: work.places, failures: work.failures, parts: work.parts, took: work.took } = out;
    }

    /// Runs rows of a group. When the run fails because of the records, runs each half of them.
    fn bisect(&mut self, rung: Rung, group: &Group, rows: &[usize], known: Option<Known>, out: &mut Outcome) {
        let result = match known {
            Some(Known::Failed(error)) => Err(error),
            Some(Known::Ran) => Ok(0),
            None => {
                let mut outputs = self.model(rung).map_or_else(Vec::new, |model| outputs_of(&**model.source()));
                let began = threads::now();
                let run = self.attempt(rung, rows.len(), &part_of(&group.inputs, rows), &mut outputs);
                run.map(|()| {
                    out.took.resize(out.parts.len(), Duration::ZERO);
                    out.took.push(threads::since(began));
                    out.parts.push(outputs);
                    out.parts.len() - 1
                })
            }
        };
        match result {
            Ok(part) => self.settle(rung, group, rows, part, out),
            Err(RunError::Batch(_)) if rows.len() > 1 => {
                self.rungs.bisections.add(1);
                let (first, second) = rows.split_at(rows.len() / 2);
                self.bisect(rung, group, first, None, out);
                self.bisect(rung, group, second, None, out);
            }
            Err(RunError::Batch(reason) | RunError::Unavailable(reason)) => {
                out.fail(group, rows, &reason, rung == Rung::Fallback)
            }
        }
    }

    /// Marks the rows of a run as scored, except those without a finite score.
    fn settle(&self, rung: Rung, group: &Group, rows: &[usize], part: usize, out: &mut Outcome) {
        let by_fallback = rung == Rung::Fallback;
        let specs = self.model(rung).map_or(&[][..], |model| model.source().outputs());
        let faults = self.rungs.finite.faults(specs, rows.len(), out.parts.get(part).map_or(&[], Vec::as_slice));
        self.rungs.not_finite.add(faults.len() as u64);
        let mut faults = faults.into_iter().peekable();
        for (row, place) in rows.iter().enumerate() {
            match faults.next_if(|(at, _)| *at == row) {
                Some((_, reason)) => out.fail(group, &[*place], &reason, by_fallback),
                None => out.places[group.records[*place]] = Place::Scored { by_fallback, part, row },
            }
        }
    }
}

/// The results for the records of a batch, while they are being determined.
struct Outcome {
    places: Vec<Place>,
    failures: Vec<String>,
    parts: Vec<Vec<Tensor>>,
    took: Vec<Duration>,
}

impl Outcome {
    fn fail(&mut self, group: &Group, rows: &[usize], reason: &str, by_fallback: bool) {
        for row in rows {
            let place = &mut self.places[group.records[*row]];
            match place {
                Place::Failed(earlier) if by_fallback => {
                    if let Some(text) = self.failures.get_mut(*earlier) {
                        text.push_str("; the fallback model: ");
                        text.push_str(reason);
                    }
                }
                _ => {
                    self.failures.push(reason.to_owned());
                    *place = Place::Failed(self.failures.len() - 1);
                }
            }
        }
    }
}

fn no_such_model() -> RunError {
    RunError::Unavailable("there is no such model".to_owned())
}

impl BatchRunner<Work> for Ladder {
    fn run(&mut self, work: &mut Work) {
        self.fetch(work);
        if !work.is_plain() {
            return self.climb(work, None);
        }
        let Some(version) = work.groups().first().map(|group| group.version) else { return };
        let Some(source) = self.model(Rung::Model(version)).map(|model| Arc::clone(model.source())) else {
            return self.climb(work, None);
        };
        if work.parts.is_empty() {
            work.parts.push(outputs_of(&*source));
        }
        work.parts.truncate(1);
        let mut outputs = work.parts.pop().unwrap_or_default();
        let Some(group) = work.groups().first() else { return };
        let rows = group.records.len();
        let began = threads::now();
        let result = self.attempt(Rung::Model(version), rows, &group.inputs, &mut outputs);
        let took = threads::since(began);
        let known = match result {
            Err(error) => Some(Known::Failed(error)),
            Ok(()) => {
                let faults = self.rungs.finite.faults(source.outputs(), rows, &outputs);
                (!faults.is_empty()).then_some(Known::Ran)
            }
        };
        work.parts.push(outputs);
        work.took.clear();
        work.took.push(took);
        if known.is_some() {
            self.climb(work, known);
        }
    }
}
