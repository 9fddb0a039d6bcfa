//! ONNX Runtime on one thread, in batches.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use ort::session::Session;
use ort::value::TensorRef;

/// A model, and the rows that wait to be scored.
pub struct Model {
    session: Session,
    input: String,
    output: String,
    /// The column of the output that is the score.
    column: usize,
    width: usize,
    batch: usize,
    rows: Vec<f32>,
}

impl Model {
    /// Loads a model of `width` features, whose score is a column of its output `output`.
    ///
    /// # Errors
    /// When ONNX Runtime is not where `ORT_DYLIB_PATH` says, or cannot load the model.
    pub fn load(path: &Path, output: &str, column: usize, width: usize, batch: usize) -> Result<Self> {
        let library = std::env::var("ORT_DYLIB_PATH").context("ORT_DYLIB_PATH does not say where ONNX Runtime is")?;
        let environment = ort::init_from(library)?.build()?;
        let builder = Session::builder(&environment)?.with_intra_threads(1).map_err(|e| anyhow!("{e}"))?;
        let mut builder = builder.with_inter_threads(1).map_err(|e| anyhow!("{e}"))?;
        let session = builder.commit_from_file(path)?;
        let input = session.inputs().first().context("the model has no input")?.name().to_owned();
        let rows = Vec::with_capacity(batch * width);
        Ok(Self { session, input, output: output.to_owned(), column, width, batch, rows })
    }

    /// Adds a row.
    pub fn push(&mut self, features: &[f64]) {
        self.rows.extend(features.iter().map(|value| *value as f32));
    }

    /// Returns whether a batch is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.batch * self.width
    }

    /// Scores the rows that wait.
    ///
    /// # Errors
    /// When the model fails.
    pub fn run(&mut self) -> Result<Vec<f32>> {
        let rows = self.rows.len() / self.width;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let tensor = TensorRef::from_array_view(([rows, self.width], &*self.rows))?;
        let outputs = self.session.run(ort::inputs![self.input.as_str() => tensor])?;
        let (_, values) = outputs[self.output.as_str()].try_extract_tensor::<f32>()?;
        let scores = values.iter().skip(self.column).step_by(values.len() / rows).copied().collect();
        self.rows.clear();
        Ok(scores)
    }
}
