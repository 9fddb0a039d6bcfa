//! A model whose scores a test computes.

use std::sync::Arc;

use tidemill::infer::{Backend, ElementType, Elements, ModelError, ModelSource, RunError, Tensor, TensorSpec};
use tidemill::prelude::*;

type Run = dyn Fn(usize) -> Result<Vec<f32>, RunError> + Send + Sync;

/// A model of features that are not looked at: its scores depend on the number of rows alone.
#[derive(Clone)]
pub struct Computed {
    info: ModelInfo,
    specs: [TensorSpec; 2],
    run: Arc<Run>,
}

impl Computed {
    /// Makes a model with this number of features. `run` returns the scores of so many rows.
    pub fn new(
        name: &str,
        features: usize,
        run: impl Fn(usize) -> Result<Vec<f32>, RunError> + Send + Sync + 'static,
    ) -> Self {
        let specs = [
            TensorSpec::fixed("features", ElementType::F32, [features]),
            TensorSpec::fixed("score", ElementType::F32, []),
        ];
        Self { info: ModelInfo::new(name, "0"), specs, run: Arc::new(run) }
    }
}

impl ModelSource for Computed {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.specs[..1]
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.specs[1..]
    }

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        Ok(Box::new(self.clone()))
    }
}

impl Backend for Computed {
    fn run(&mut self, rows: usize, _: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        outputs[0].elements = Elements::F32((self.run)(rows)?);
        Ok(())
    }
}
