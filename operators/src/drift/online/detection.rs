//! What detectors report, and the mean that they have in common.

use serde::{Deserialize, Serialize};

/// What a detector reports of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// How sure it is.
    pub level: Level,
    /// Where the values went.
    pub direction: Direction,
}

/// How sure a detector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// There may be a change. Only DDM warns.
    Warning,
    /// There is a change.
    Drift,
}

/// Where the values went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// They became larger.
    Up,
    /// They became smaller.
    Down,
}

impl Direction {
    pub(super) fn of(from: f64, to: f64) -> Self {
        if to >= from { Self::Up } else { Self::Down }
    }
}

/// A mean that is kept up to date, by the arithmetic of river's `stats.Mean` (West 1979).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Mean {
    pub(super) n: u64,
    pub(super) mean: f64,
}

impl Mean {
    pub(super) fn update(&mut self, value: f64) {
        self.n += 1;
        self.mean += 1.0 / self.n as f64 * (value - self.mean);
    }
}
