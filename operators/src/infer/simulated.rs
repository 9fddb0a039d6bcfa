//! A model in a simulated world: it takes its time, and fails.

use tidemill_engine::metrics::OperatorMetrics;
use tidemill_engine::testing::Outside;

use super::backend::{Backend, ModelInfo, ModelSource, RunError};
use super::error::ModelError;
use super::tensor::{Tensor, TensorSpec};

/// Scores as another model does, but each run is a call [`Outside`]: it takes as long as the simulation says, at times longer
/// than the deadline, and may fail, which makes the model unavailable. Like a server it runs on threads.
#[derive(Clone)]
pub struct Simulated<M> {
    model: M,
    outside: Outside,
}

impl<M: ModelSource> Simulated<M> {
    /// `model`, as the simulation that `outside` is of lets it be had.
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
