//! How records are gathered into batches, where these are run, and what is tried with those that fail.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pool::PoolSettings;

/// The settings of an inference operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferSettings {
    /// Records of a batch at most; default 64.
    pub max_batch_size: BatchSize,
    /// How long a record waits at most for its batch to fill while the worker has other work;
    /// default 1 ms. It never waits when the worker has nothing else to do.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// How long a batch may hold the watermark back while it fills; default as `max_delay`. With nothing, a batch is
    /// run as soon as the watermark of its input has passed it: for what waits for the watermark downstream, and
    /// costs more a record where a source's reads are smaller than a batch.
    #[serde(with = "humantime_serde")]
    pub max_watermark_delay: Option<Duration>,
    /// The p99 to hold, from a record's coming to the operator until it leaves: batches are as large as that
    /// allows. Without one they are as large as [`max_batch_size`](Self::max_batch_size) says.
    #[serde(with = "humantime_serde")]
    pub latency_target: Option<Duration>,
    /// Threads for the model. Without one it runs on the worker, unless it waits for a server.
    pub pool: Option<PoolSettings>,
    /// How often a batch is tried again when the model cannot be had; default 2. In line it never is, and a model
    /// server is called as its own settings say.
    pub retries: u32,
    /// The pause before the first retry, twice as long before each further one; default 20 ms.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// The score of a record that all models failed on, marked as [`ScoreOrigin::Default`](super::ScoreOrigin::Default).
    /// Without one such a record becomes a dead letter.
    pub default_score: Option<f32>,
    /// Whether NaN and infinities are no scores (default): such a record goes to the fallback model, then to the default
    /// score, or else is a dead letter; it is counted as `not_finite`, and costs the others of its batch nothing. What
    /// counts is the score that was asked for; with [`infer_tensors`](super::InferExt::infer_tensors) every float of the
    /// outputs that the model was loaded with.
    pub finite_scores: bool,
    /// Whether all runs of the model have as many rows, [`max_batch_size`](Self::max_batch_size) (with `auto:N` N): a batch
    /// that is smaller is filled up. Then the last bits of a score do not depend on what else was in its batch, and a
    /// replay gives the same bits, on the same machine with the same ONNX Runtime and settings. Default: off. Not for
    /// what a model server does with its batches.
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

/// How many records a batch has at most. In a file or on a command line `64`, or `auto:1024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BatchSize {
    /// As many.
    Fixed(NonZeroUsize),
    /// As many as cost the least each, by a measurement when the operator starts: more is not faster.
    Calibrated {
        /// The most that are tried.
        up_to: NonZeroUsize,
    },
}

impl BatchSize {
    /// The most it can be.
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
