//! The traits of models: a [`Backend`] scores a batch, and a [`ModelSource`] opens backends. A backend is an ONNX
//! session in this process, or a client of a model server.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::OperatorMetrics;

use super::error::ModelError;
use super::spec::FeatureRules;
use super::tensor::{Tensor, TensorSpec};

/// A model that is ready to score batches: an ONNX session, or a client of a model server. Each thread has its own; a
/// run may block.
pub trait Backend: Send {
    /// Scores `rows` rows.
    ///
    /// `inputs` are in the order of [`ModelSource::inputs`]. The backend clears `outputs` and fills their shapes and
    /// elements, in the order of [`ModelSource::outputs`]. After an error their content does not matter.
    ///
    /// # Errors
    /// Fails with one of two kinds of [`RunError`], which decides what happens next. A panic counts as
    /// [`RunError::Unavailable`], and the backend is opened anew.
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError>;
}

/// The reason why a batch was not scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The records may be at fault (a status 400, an error of ONNX Runtime). The batch is bisected until the faulty
    /// records are alone.
    #[error("{0}")]
    Batch(String),
    /// The model is unavailable now (deadline, connection, open circuit, status 5xx). The batch is not bisected: it is
    /// retried, then goes to the fallback model.
    #[error("{0}")]
    Unavailable(String),
}

/// A model that is checked before the job starts, and that each thread opens for itself.
pub trait ModelSource: Send + Sync {
    /// Returns the name and the hash of the model.
    fn info(&self) -> &ModelInfo;

    /// Returns the inputs that the backends take, in order.
    fn inputs(&self) -> &[TensorSpec];

    /// Returns the outputs that the backends fill, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Returns the rules by which the program's features become a row of the input; default: none, and features are written
    /// in their order.
    fn rules(&self) -> Option<&Arc<FeatureRules>> {
        None
    }

    /// Returns the column of the first output that is the score of a record, where the score is one number; default 0.
    fn score_column(&self) -> usize {
        0
    }

    /// Returns the number of rows that every run must have, if the model accepts only one; default: none. A batch is
    /// then cut into such runs, and the last one is filled up with rows of the same batch.
    fn batch_rows(&self) -> Option<usize> {
        None
    }

    /// Returns whether a run waits for another process (a server); default: false. A model that blocks never runs in
    /// line on a worker.
    fn blocks(&self) -> bool {
        false
    }

    /// Returns whether the backends retry by themselves; default: false. Where they do, the operator does not retry.
    fn tries_again(&self) -> bool {
        false
    }

    /// Returns what runs the model, and why, for the log and the page; default: nothing is said.
    fn engine(&self) -> Option<String> {
        None
    }

    /// Adds the model's own counters to the metrics of an operator. By default there are none.
    fn meter(&self, metrics: &OperatorMetrics) {
        let _ = metrics;
    }

    /// Opens a backend for one thread.
    ///
    /// # Errors
    /// Fails when the model cannot be loaded or reached.
    fn open(&self) -> Result<Box<dyn Backend>, ModelError>;
}

/// The name and the hash of the model that produced a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The model's name, from its metadata or else from its file name.
    pub name: String,
    /// The version, for a model of a [repository](super::ModelRepository).
    pub version: Option<u64>,
    /// The first 16 hexadecimal digits of the SHA-256 of the model's file and of its files of external weights. For a
    /// model on a server, its version.
    pub hash: String,
}

impl ModelInfo {
    /// Returns the name and the hash of a model that is not of a repository.
    pub fn new(name: impl Into<String>, hash: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, hash: hash.into() }
    }
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}/{version}@{}", self.name, self.hash),
            None => write!(f, "{}@{}", self.name, self.hash),
        }
    }
}
