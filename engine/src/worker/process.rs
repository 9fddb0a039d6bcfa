//! What the workers of one process share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::budget::Budget;
use super::failure::Failure;
use crate::alignment::SourceClocks;
use crate::checkpoint::target::Written;
use crate::clock::Clock;
use crate::metrics::{Distribution, Metrics};
use crate::record::Arrival;

/// Shared by the worker threads of a process.
pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    /// Records that wait for the watermark in event-time ordered operators.
    pub(crate) pending: AtomicI64,
    /// How many of them there may be before sources that are ahead of the slowest one wait for it.
    pub(crate) max_pending: i64,
    /// How far a source may be ahead of the slowest one.
    pub(crate) max_drift_ms: Option<i64>,
    /// How far an event time may be ahead of the clock, where its source does not say.
    pub(crate) max_ahead_ms: Option<i64>,
    pub(crate) metrics: Metrics,
    pub(crate) source_clocks: SourceClocks,
    pub(crate) failure: Failure,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) progress: JobProgress,
}

/// The incarnation of the process that leads, and has recovered: the same in all processes of one start, and known before the
/// first record is written. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LeaderIncarnation(Arc<OnceLock<u64>>);

impl LeaderIncarnation {
    /// The incarnation; none before the first epoch has begun.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        self.0.get().copied()
    }

    /// The process that leads says so. Later words change nothing.
    pub(crate) fn set(&self, incarnation: u64) {
        self.0.get_or_init(|| incarnation);
    }
}

/// Where the job stands, for whoever looks.
pub(crate) struct JobProgress {
    /// When the first epoch began: all workers were ready. By the job's clock, too.
    pub(crate) began: OnceLock<(Instant, Arrival)>,
    pub(crate) leader: LeaderIncarnation,
    /// 0: nothing was restored, or it is not known yet what is.
    pub(crate) restored_epoch: AtomicU64,
    pub(crate) running_epoch: AtomicU64,
    /// 0: none yet.
    pub(crate) committed_epoch: AtomicU64,
    pub(crate) written: Written,
    /// By worker of this process.
    pub(crate) state: Vec<StateUse>,
    pub(crate) checkpoint_time: Distribution,
}

/// What the keyed state of a worker takes.
#[derive(Default)]
pub(crate) struct StateUse {
    pub(crate) bytes: AtomicU64,
    /// Whether that is all it may: sources wait until something was evicted.
    pub(crate) full: AtomicBool,
}
