//! Settings of inference: how records are gathered into batches, where the batches run, and what happens when one
//! fails.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pool::PoolSettings;

/// Settings of an inference operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferSettings {
    /// Maximum number of records per batch; default 64.
    pub max_batch_size: BatchSize,
    /// Maximum time that a record waits for its batch to fill while the worker has other work; default 1 ms.
    /// A record never waits when the worker has nothing else to do.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Maximum time that a batch may hold back the watermark while it fills; default: `max_delay`. With zero, a batch
    /// runs as soon as the watermark of its input has passed it. That suits operators downstream that wait for the
    /// watermark, and costs more per record where a source's reads are smaller than a batch.
    #[serde(with = "humantime_serde")]
    pub max_watermark_delay: Option<Duration>,
    /// The target for the p99 latency of a record, from its arrival at the operator until it leaves. Batches are as
    /// large as the target allows. Without a target, [`max_batch_size`](Self::max_batch_size) alone limits them.
    #[serde(with = "humantime_serde")]
    pub latency_target: Option<Duration>,
    /// The pool of threads that run the model. Without a pool the model runs on the worker, unless it waits for a
    /// server.
    pub pool: Option<PoolSettings>,
    /// Maximum number of retries of a batch while the model is unavailable; default 2. There are no retries where the
    /// model runs in line on the worker. A model server is retried according to its own settings.
    pub retries: u32,
    /// The pause before the first retry; default 20 ms. It doubles before each further retry.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// The score of a record that all models failed on, marked as
    /// [`ScoreOrigin::Default`](super::ScoreOrigin::Default). Without a default score, such a record becomes a dead
    /// letter.
    pub default_score: Option<f32>,
    /// Whether NaN and infinities are rejected as scores; default: true. A record with such a score goes to the
    /// fallback model, then gets the default score, or else becomes a dead letter. It is counted as `not_finite` and
    /// does not affect the other records of its batch. The check covers the requested score; with
    /// [`infer_tensors`](super::InferExt::infer_tensors), every float of the outputs that the model was loaded
    /// with.
    pub finite_scores: bool,
    /// Whether all runs of the model have the same number of rows, [`max_batch_size`](Self::max_batch_size) (`N` with
    /// `auto:N`); default: false. A smaller batch is filled up. Then the last bits of a score do not depend on the
    /// other records of its batch, and a replay yields the same bits, on the same machine with the same ONNX Runtime
    /// and settings. This does not cover how a model server forms its own batches.
    pub batch_exact: bool,
}

impl Default for InferSettings {
    fn default() -> Self {
        Self {
            max_batch_size: BatchSize::Fixed(NonZeroUsize::MIN.saturating_add(63)),
            max_delay: Duration::from_millis(1),
            max_watermark_delay: None,
            latency_target: None,
            pool: None,
            retries: 2,
            backoff: Duration::from_millis(20),
            default_score: None,
            finite_scores: true,
            batch_exact: false,
        }
    }
}

/// The maximum number of records per batch. In a file or on a command line it is written `64`, or `auto:1024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BatchSize {
    /// A fixed maximum.
    Fixed(NonZeroUsize),
    /// The size with the lowest cost per record, measured when the operator starts: larger batches are not faster.
    Calibrated {
        /// The largest size that is tried.
        up_to: NonZeroUsize,
    },
}

impl BatchSize {
    /// Returns the largest size that this setting allows.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::Fixed(size) | Self::Calibrated { up_to: size } => size.get(),
        }
    }
}

impl From<NonZeroUsize> for BatchSize {
    fn from(size: NonZeroUsize) -> Self {
        Self::Fixed(size)
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Calibrated { up_to } => write!(f, "auto:{up_to}"),
        }
    }
}

impl FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no batch size: write 64, or auto:1024 to have the best one up to 1024 measured");
        match text.strip_prefix("auto:") {
            Some(up_to) => up_to.parse().map(|up_to| Self::Calibrated { up_to }).map_err(|_| wrong()),
            None => text.parse().map(Self::Fixed).map_err(|_| wrong()),
        }
    }
}

impl TryFrom<String> for BatchSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BatchSize> for String {
    fn from(size: BatchSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_size_is_written_as_it_is_read() {
        for text in ["1", "64", "auto:1024"] {
            assert_eq!(text.parse::<BatchSize>().unwrap().to_string(), text);
        }
        for wrong in ["", "0", "auto", "auto:0", "-3", "many"] {
            assert!(wrong.parse::<BatchSize>().unwrap_err().contains("no batch size"), "{wrong}");
        }
    }
}
