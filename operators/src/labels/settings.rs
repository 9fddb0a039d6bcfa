//! Settings of the quality of scores.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::JobError;

use crate::length::invalid;

/// Settings of the quality of scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// Length of a window, in the event time of labels; default: a day.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// A score above this is an alert; default: 0.5.
    pub threshold: f64,
    /// The numbers of records with the highest scores whose precision is reported; default: 100.
    pub at_k: Vec<u64>,
    /// Least number of records of a window that says something; default: 1,000.
    pub min_records: u64,
    /// The operator that scored. The rollout of a version there compares what labels say of canary and baseline. None by
    /// default.
    pub rollout: Option<String>,
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(24 * 3600),
            threshold: 0.5,
            at_k: vec![100],
            min_records: 1000,
            rollout: None,
        }
    }
}

impl QualitySettings {
    pub(super) fn check(&self, name: &str) -> Result<(), JobError> {
        if self.threshold.is_nan() {
            return Err(invalid(name, "the threshold is no number: a score above it is an alert"));
        }
        if self.at_k.contains(&0) {
            return Err(invalid(name, "at_k has 0: the precision is that of at least one record"));
        }
        Ok(())
    }
}
