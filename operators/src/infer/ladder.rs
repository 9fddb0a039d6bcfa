//! What is tried with a batch until each of its records has a score or a reason why it has none.
//!
//! ```text
//! model ── Ok ─▶ scored
//!   ├─ Unavailable ─▶ retry, with backoff (on threads only) ─▶ all its records go on
//!   └─ Batch ─▶ halves, down to the bad records alone ─▶ those go on
//!        └─▶ fallback model, the same way ─▶ scored by the fallback
//!              └─▶ default score, or dead letter: the operator decides
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidemill_engine::metrics::Counter;
use tidemill_engine::shell::BatchRunner;
use tidemill_engine::with_causes;

use super::backend::{Backend, ModelSource, RunError};
use super::error::ModelError;
use super::tensor::{Elements, Tensor, TensorSpec};
use super::work::{Group, Place, Work};
use crate::pool::Retries;

/// A model of one thread.
struct Loaded {
    source: Arc<dyn ModelSource>,
    /// None before it is opened, and after a panic.
    backend: Option<Box<dyn Backend>>,
}

impl Loaded {
    /// A run whose outputs are what they should be. A panic makes the model unavailable, and has it opened again.
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        let backend = match &mut self.backend {
            Some(backend) => backend,
            closed => {
                let opened = self.source.open().map_err(|error| RunError::Unavailable(with_causes(&error)))?;
                closed.insert(opened)
            }
        };
        outputs.iter_mut().for_each(Tensor::clear);
        match catch_unwind(AssertUnwindSafe(|| backend.run(rows, inputs, outputs))) {
            Ok(result) => result?,
            Err(panic) => {
                self.backend = None;
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                return Err(RunError::Unavailable(format!("it panicked: {text}")));
            }
        }
        let wrong = |(spec, output): &(&TensorSpec, &Tensor)| !spec.holds(rows, output);
        match self.source.outputs().iter().zip(&*outputs).find(wrong) {
            None => Ok(()),
            Some((spec, Tensor { shape, elements })) => Err(RunError::Batch(format!(
                "the model gave {} values of {} in rows of {shape:?} for {rows} rows of {spec}",
                elements.len(),
                elements.element_type()
            ))),
        }
    }
}

/// The ladder of one thread.
pub(super) struct Ladder {
    model: Loaded,
    fallback: Option<Loaded>,
    /// In line nobody may wait.
    retries: Option<Retries>,
    bisections: Counter,
}

impl Ladder {
    /// Models that are opened at their first use.
    pub(super) fn closed(
        model: &Arc<dyn ModelSource>,
        fallback: Option<&Arc<dyn ModelSource>>,
        retries: Option<Retries>,
        bisections: Counter,
    ) -> Self {
        let closed = |source: &Arc<dyn ModelSource>| Loaded { source: Arc::clone(source), backend: None };
        Self { model: closed(model), fallback: fallback.map(closed), retries, bisections }
    }

    /// Opens them now.
    pub(super) fn open(mut self) -> Result<Self, ModelError> {
        for model in std::iter::once(&mut self.model).chain(&mut self.fallback) {
            model.backend = Some(model.source.open()?);
        }
        Ok(self)
    }

    /// A run of the model alone, to measure it.
    pub(super) fn probe(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        self.model.run(rows, inputs, outputs)
    }

    /// A run of one of the models, again while it cannot be had and may be tried.
    fn attempt(
        &mut self,
        by_fallback: bool,
        rows: usize,
        inputs: &[Tensor],
        outputs: &mut [Tensor],
    ) -> Result<(), RunError> {
        let model = if by_fallback { self.fallback.as_mut() } else { Some(&mut self.model) };
        let Some(model) = model else { return Err(RunError::Unavailable("there is no fallback".to_owned())) };
        match &self.retries {
            None => model.run(rows, inputs, outputs),
            Some(retries) => {
                retries.run(|| model.run(rows, inputs, outputs), |error| matches!(error, RunError::Unavailable(_)))
            }
        }
    }

    /// Everything but the one good run of all records.
    fn climb(&mut self, work: &mut Work, mut known: Option<RunError>) {
        let len = work.len;
        work.places.resize(len, Place::Open);
        let mut out = Outcome {
            places: std::mem::take(&mut work.places),
            failures: std::mem::take(&mut work.failures),
            // The first one's buffers stay for the next batch.
            parts: work.parts.drain(..).take(1).collect(),
        };
        for group in work.groups() {
            let rows: Vec<usize> = (0..group.records.len()).collect();
            match &work.given_up {
                Some(reason) => out.fail(group, &rows, reason, false),
                None => self.bisect(false, group, &rows, known.take(), &mut out),
            }
            if self.fallback.is_some() {
                let failed = |row: &usize| matches!(out.places.get(group.records[*row]), Some(Place::Failed(_)));
                let rows: Vec<usize> = rows.iter().copied().filter(failed).collect();
                if !rows.is_empty() {
                    self.bisect(true, group, &rows, None, &mut out);
                }
            }
        }
        Outcome { places: work.places, failures: work.failures, parts: work.parts } = out;
    }

    /// Runs rows of a group; when the batch fails, each half of them.
    fn bisect(&mut self, by_fallback: bool, group: &Group, rows: &[usize], known: Option<RunError>, out: &mut Outcome) {
        let result = match known {
            Some(error) => Err(error),
            None => {
                let source = if by_fallback { self.fallback.as_ref() } else { Some(&self.model) };
                let mut outputs = source.map_or_else(Vec::new, |model| Work::outputs_of(&*model.source));
                self.attempt(by_fallback, rows.len(), &part_of(&group.inputs, rows), &mut outputs).map(|()| outputs)
            }
        };
        match result {
            Ok(outputs) => {
                out.parts.push(outputs);
                let part = out.parts.len() - 1;
                for (row, place) in rows.iter().enumerate() {
                    out.places[group.records[*place]] = Place::Scored { by_fallback, part, row };
                }
            }
            Err(RunError::Batch(_)) if rows.len() > 1 => {
                self.bisections.add(1);
                let (first, second) = rows.split_at(rows.len() / 2);
                self.bisect(by_fallback, group, first, None, out);
                self.bisect(by_fallback, group, second, None, out);
            }
            Err(RunError::Batch(reason) | RunError::Unavailable(reason)) => out.fail(group, rows, &reason, by_fallback),
        }
    }
}

/// What becomes of the records of a batch, while it is found out.
struct Outcome {
    places: Vec<Place>,
    failures: Vec<String>,
    parts: Vec<Vec<Tensor>>,
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

/// Some rows of tensors.
fn part_of(inputs: &[Tensor], rows: &[usize]) -> Vec<Tensor> {
    let part = |input: &Tensor| {
        let elements = Elements::new(input.elements.element_type());
        let mut part = Tensor { shape: input.shape.clone(), elements };
        rows.iter().for_each(|row| part.push_row(input, *row));
        part
    };
    inputs.iter().map(part).collect()
}

impl BatchRunner<Work> for Ladder {
    fn run(&mut self, work: &mut Work) {
        if !work.is_plain() {
            return self.climb(work, None);
        }
        if work.parts.is_empty() {
            work.parts.push(Work::outputs_of(&*self.model.source));
        }
        work.parts.truncate(1);
        let mut outputs = work.parts.pop().unwrap_or_default();
        let Some(group) = work.groups().first() else { return };
        let result = self.attempt(false, group.records.len(), &group.inputs, &mut outputs);
        work.parts.push(outputs);
        if let Err(error) = result {
            self.climb(work, Some(error));
        }
    }
}
