//! What scores a batch, and where it comes from: an ONNX session of this process, or a model server.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::OperatorMetrics;

use super::error::ModelError;
use super::tensor::{Tensor, TensorSpec};

/// What scores a batch: an ONNX session, a model server's client. One per thread; it may block.
pub trait Backend: Send {
    /// Scores `rows` rows.
    ///
    /// `inputs` are in the order of [`ModelSource::inputs`]; `outputs` are cleared and filled, shape and elements, in
    /// the order of [`ModelSource::outputs`]. What is in them after an error does not matter.
    ///
    /// # Errors
    /// Which of the two decides what happens next. A panic counts as [`RunError::Unavailable`], and the backend is
    /// opened anew.
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError>;
}

/// Why a batch was not scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The records may be at fault (a 400, an error of ONNX Runtime): the batch is bisected until those are alone.
    #[error("{0}")]
    Batch(String),
    /// The model cannot be had now (deadline, connection, open circuit, 5xx): no bisecting; retries, then the fallback.
    #[error("{0}")]
    Unavailable(String),
}

/// A model that can be opened once per thread; checked before the job starts.
pub trait ModelSource: Send + Sync {
    /// Which model this is.
    fn info(&self) -> &ModelInfo;

    /// The inputs its backends take, in order.
    fn inputs(&self) -> &[TensorSpec];

    /// The outputs its backends give, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Which column of the first output is the score of a record, where one number is asked for.
    fn score_column(&self) -> usize {
        0
    }

    /// The only number of rows that its backends can be run with, where there is one: a batch is cut into such runs, the
    /// last filled up with rows of its own.
    fn batch_rows(&self) -> Option<usize> {
        None
    }

    /// Whether a run waits for others (a server): such a model never runs in line on a worker.
    fn blocks(&self) -> bool {
        false
    }

    /// Whether its backends try again by themselves: then the operator does not.
    fn tries_again(&self) -> bool {
        false
    }

    /// Adds what it counts to an operator's metrics.
    fn meter(&self, metrics: &OperatorMetrics) {
        let _ = metrics;
    }

    /// A backend for one thread.
    ///
    /// # Errors
    /// When the model cannot be had.
    fn open(&self) -> Result<Box<dyn Backend>, ModelError>;
}

/// Which model made a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The model's name: its metadata's, or the file's.
    pub name: String,
    /// The first 16 hexadecimal digits of the SHA-256 of its file, and of those with weights beside it; of a served
    /// model, its version.
    pub hash: String,
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.hash)
    }
}
