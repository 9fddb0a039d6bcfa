//! A model for simulation tests, which can be slow and can fail.

use tidemill_engine::metrics::OperatorMetrics;
use tidemill_engine::testing::Outside;

use super::backend::{Backend, ModelInfo, ModelSource, RunError};
use super::error::ModelError;
use super::tensor::{Tensor, TensorSpec};

/// A model that scores like the model it wraps, except that each run is a call [`Outside`]. The simulation decides how
/// long a run takes, at times longer than the deadline, and whether it fails; a failed run makes the model unavailable.
/// Like a model server, it runs on threads.
#[derive(Clone)]
pub struct Simulated<M> {
    model: M,
    outside: Outside,
}

impl<M: ModelSource> Simulated<M> {
    /// Wraps `model` so that the simulation to which `outside` belongs decides how each run goes.
    #[must_use]
    pub fn new(model: M, outside: Outside) -> Self {
        Self { model, outside }
    }
}

impl<M: ModelSource> ModelSource for Simulated<M> {
    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn inputs(&self) -> &[TensorSpec] {
        self.model.inputs()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.model.outputs()
    }

    fn score_column(&self) -> usize {
        self.model.score_column()
    }

    fn batch_rows(&self) -> Option<usize> {
        self.model.batch_rows()
    }

    fn blocks(&self) -> bool {
        true
    }

    fn tries_again(&self) -> bool {
        self.model.tries_again()
    }

    fn meter(&self, metrics: &OperatorMetrics) {
        self.model.meter(metrics);
    }

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        Ok(Box::new(SimulatedBackend { backend: self.model.open()?, outside: self.outside.clone() }))
    }
}

struct SimulatedBackend {
    backend: Box<dyn Backend>,
    outside: Outside,
}

impl Backend for SimulatedBackend {
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        self.outside.call().map_err(|error| RunError::Unavailable(error.to_string()))?;
        self.backend.run(rows, inputs, outputs)
    }
}
