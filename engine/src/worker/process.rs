//! The context that the workers of one process share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use tidemill_state::{Db, StateName};

use super::budget::Budget;
use super::failure::Failure;
use super::pages::Pages;
use super::pulse::Pulse;
use super::start_times::StartTimes;
use crate::alignment::SourceClocks;
use crate::board::Boards;
use crate::checkpoint::target::Written;
use crate::clock::Clock;
use crate::control::switchboard::Switchboard;
use crate::error::{ErrorKind, JobError};
use crate::metrics::{Distribution, Metrics, Topology};
use crate::record::Arrival;
use crate::tap::Taps;

/// The context that the worker threads of a process share.
pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    /// Number of records that wait for the watermark in event-time ordered operators.
    pub(crate) pending: AtomicI64,
    /// Number of pending records from which on sources that are ahead of the slowest one wait for it.
    pub(crate) max_pending: i64,
    /// How far a source may be ahead of the slowest one.
    pub(crate) max_drift_ms: Option<i64>,
    /// How far an event time may be ahead of the clock, for sources that set no limit of their own.
    pub(crate) max_ahead_ms: Option<i64>,
    pub(crate) metrics: Metrics,
    /// The graph of the job, once it is built.
    pub(crate) topology: OnceLock<Topology>,
    /// Where records are sampled.
    pub(crate) taps: Taps,
    /// What operators show of their last findings.
    pub(crate) boards: Boards,
    pub(crate) source_clocks: SourceClocks,
    /// Where the processes of the job serve HTTP.
    pub(crate) pages: Pages,
    pub(crate) checkpoints_at: CheckpointsAt,
    /// The operators that can be changed while the job runs.
    pub(crate) control: Arc<Switchboard>,
    pub(crate) failure: Failure,
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether somebody has asked for a checkpoint before the interval is over.
    pub(crate) checkpoint_wanted: AtomicBool,
    pub(crate) progress: JobProgress,
}

/// Where the checkpoints of a job are, and how many there are.
pub(crate) struct CheckpointsAt {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) keep: usize,
}

/// The incarnation of the leading process, which has recovered the sinks: the same in all processes of one start,
/// and known before the first record is written. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LeaderIncarnation(Arc<OnceLock<u64>>);

impl LeaderIncarnation {
    /// Returns the incarnation; `None` before the first epoch has begun.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        self.0.get().copied()
    }

    /// Sets the incarnation, as the leading process has reported it. Only the first call has an effect.
    pub(crate) fn set(&self, incarnation: u64) {
        self.0.get_or_init(|| incarnation);
    }
}

/// The progress of the job, for the status page and for metrics.
pub(crate) struct JobProgress {
    /// The time when the first epoch began and all workers were ready: by the monotonic clock and by the job's clock.
    pub(crate) began: OnceLock<(Instant, Arrival)>,
    pub(crate) leader: LeaderIncarnation,
    pub(crate) start: StartTimes,
    /// The restored epoch; 0 if nothing was restored, or while it is not known yet.
    pub(crate) restored_epoch: AtomicU64,
    /// The epoch that the sources are in; the log names it too.
    pub(crate) running_epoch: Arc<AtomicU64>,
    /// The newest committed epoch; 0 before the first commit.
    pub(crate) committed_epoch: AtomicU64,
    pub(crate) written: Written,
    /// The memory of keyed state, by worker of this process.
    pub(crate) state: Vec<StateUse>,
    pub(crate) checkpoint_time: Distribution,
    pub(crate) checkpoints: CheckpointCounts,
    /// The signs of life, by worker of this process.
    pub(crate) pulses: Vec<Arc<Pulse>>,
    /// Whether the job finishes: its last epoch is decided.
    pub(crate) finishing: AtomicBool,
}

/// The checkpoints of this run, by how they ended.
#[derive(Default)]
pub(crate) struct CheckpointCounts {
    pub(crate) committed: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Another run of the job has committed the epoch.
    pub(crate) fenced: AtomicU64,
}

impl CheckpointCounts {
    pub(crate) fn count_committed(&self) {
        self.committed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the checkpoint that `error` has ended, and the job with it.
    pub(crate) fn count_failed(&self, error: &JobError) {
        let counter = if error.kind() == ErrorKind::Fenced { &self.fenced } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The memory that the keyed state of a worker takes.
#[derive(Default)]
pub(crate) struct StateUse {
    pub(crate) bytes: AtomicU64,
    /// The same by state, as it was when the running epoch began.
    pub(crate) by_state: Mutex<Vec<(StateName, u64)>>,
    /// Whether the limit is reached: sources wait until state is evicted.
    pub(crate) full: AtomicBool,
    /// The rows behind it. They belong to the worker, and end with it.
    pub(crate) rows: OnceLock<Weak<Db>>,
}
