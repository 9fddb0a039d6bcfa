//! A model of one thread, which is opened when it is needed and gets as many rows per run as it accepts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidemill_engine::error::panic_text;
use tidemill_engine::with_causes;

use super::backend::{Backend, ModelSource, RunError};
use super::element::Elements;
use super::error::ModelError;
use super::finite::same_bits;
use super::size::made_up;
use super::tensor::{Tensor, TensorSpec};

pub(super) struct Loaded {
    source: Arc<dyn ModelSource>,
    /// The backend; none before it is opened, and after a panic.
    backend: Option<Box<dyn Backend>>,
    /// Number of rows of every run, where all must have the same number.
    rows: Option<usize>,
    /// Inputs and outputs of a run that is not as large as the batch.
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl Loaded {
    /// Creates a model that is opened at its first use. The model decides the number of rows of every run; if it does
    /// not, `exact_rows` does.
    pub(super) fn closed(source: &Arc<dyn ModelSource>, exact_rows: Option<usize>) -> Self {
        Self {
            rows: source.batch_rows().or(exact_rows),
            inputs: source.inputs().iter().map(Tensor::empty).collect(),
            outputs: outputs_of(&**source),
            source: Arc::clone(source),
            backend: None,
        }
    }

    pub(super) fn source(&self) -> &Arc<dyn ModelSource> {
        &self.source
    }

    pub(super) fn open(&mut self) -> Result<(), ModelError> {
        self.backend = Some(self.source.open()?);
        Ok(())
    }

    /// Returns whether a row gets the same score at every place in a run of `rows` made-up rows.
    pub(super) fn is_exact(&mut self, rows: usize) -> Result<bool, RunError> {
        if rows == 1 {
            return Ok(true);
        }
        let source = Arc::clone(&self.source);
        let inputs: Vec<Tensor> = source.inputs().iter().map(|spec| made_up(spec, rows)).collect();
        let turned = |by: usize| move |row: usize| (row + by) % rows;
        let mut first = outputs_of(&*source);
        self.run(rows, &inputs, &mut first)?;
        for by in [1, rows / 2, rows - 1] {
            let order: Vec<usize> = (0..rows).map(turned(rows - by)).collect();
            let mut again = outputs_of(&*source);
            self.run(rows, &part_of(&inputs, &order), &mut again)?;
            if !same_bits(&first, &again, rows, turned(by)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs the model and checks its outputs. A panic makes the model unavailable; it is opened again at the next run.
    pub(super) fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        match self.rows {
            Some(size) if size != rows => self.run_cut(size, rows, inputs, outputs),
            _ => self.run_whole(rows, inputs, outputs),
        }
    }

    /// Makes runs of `size` rows. The last one is filled up with its own first row, which adds no new cause of failure.
    fn run_cut(&mut self, size: usize, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        outputs.iter_mut().for_each(Tensor::clear);
        let (mut part, mut found) = (std::mem::take(&mut self.inputs), std::mem::take(&mut self.outputs));
        let mut result = Ok(());
        for from in (0..rows).step_by(size) {
            let until = rows.min(from + size);
            for (to, input) in part.iter_mut().zip(inputs) {
                to.clear();
                to.shape.clone_from(&input.shape);
                to.push_rows(input, from..until);
                (until..from + size).for_each(|_| to.push_row(input, from));
            }
            result = self.run_whole(size, &part, &mut found);
            if result.is_err() {
                break;
            }
            for (to, output) in outputs.iter_mut().zip(&found) {
                if from > 0 && to.shape != output.shape {
                    result = Err(RunError::Batch("the rows of an output are not all of one shape".to_owned()));
                }
                to.shape.clone_from(&output.shape);
                to.push_rows(output, 0..until - from);
            }
        }
        (self.inputs, self.outputs) = (part, found);
        result
    }

    fn run_whole(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
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
                return Err(RunError::Unavailable(format!("it panicked: {}", panic_text(&*panic))));
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

/// Creates buffers for the outputs of a run of `model`.
pub(super) fn outputs_of(model: &dyn ModelSource) -> Vec<Tensor> {
    model.outputs().iter().map(Tensor::empty).collect()
}

/// Copies some rows of tensors.
pub(super) fn part_of(inputs: &[Tensor], rows: &[usize]) -> Vec<Tensor> {
    let part = |input: &Tensor| {
        let elements = Elements::new(input.elements.element_type());
        let mut part = Tensor { shape: input.shape.clone(), elements };
        rows.iter().for_each(|row| part.push_row(input, *row));
        part
    };
    inputs.iter().map(part).collect()
}
