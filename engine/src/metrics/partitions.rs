//! The metrics of one partition of a source.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::snapshot::PartitionSnapshot;
use super::values::Gauge;
use crate::time::EventTime;

/// What a source does with one of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionState {
    /// It is read, and the watermark waits for it.
    Active,
    /// It has nothing, and the watermark does not wait for it.
    Idle,
    /// It is not read at present, because it is too far ahead of another partition.
    Paused,
    /// It was read to the end of a bounded read.
    Done,
}

impl PartitionState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Active, Self::Idle, Self::Paused, Self::Done];

    /// Returns the name of the state: `active`, `idle`, `paused` or `done`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Done => "done",
        }
    }
}

/// The metrics of one partition of a source, which the source sets after each read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PartitionMetrics {
    name: Arc<str>,
    watermark: Gauge,
    pending: Gauge,
    state: Arc<AtomicU8>,
}

impl PartitionMetrics {
    pub(super) fn new(name: &str) -> Self {
        let unknown = || {
            let gauge = Gauge::default();
            gauge.set(i64::MIN);
            gauge
        };
        Self { name: name.into(), watermark: unknown(), pending: unknown(), state: Arc::default() }
    }

    /// Sets the state of the partition, its watermark, and the number of its records that are not read yet, if that is
    /// known.
    pub fn set(&self, state: PartitionState, watermark: EventTime, pending: Option<u64>) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.watermark.set(watermark.0);
        self.pending.set(pending.map_or(i64::MIN, |pending| i64::try_from(pending).unwrap_or(i64::MAX)));
    }

    pub(super) fn snapshot(&self) -> PartitionSnapshot {
        let known = |gauge: &Gauge| Some(gauge.get()).filter(|value| *value != i64::MIN);
        let state = PartitionState::ALL[usize::from(self.state.load(Ordering::Relaxed))];
        PartitionSnapshot {
            partition: self.name.to_string(),
            watermark_ms: known(&self.watermark).filter(|watermark| *watermark != i64::MAX),
            pending: known(&self.pending),
            state: state.as_str().to_owned(),
        }
    }
}
