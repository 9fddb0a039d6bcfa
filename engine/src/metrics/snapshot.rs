//! The state of a job, as the status page and its report show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::Percentiles;

/// The state of a job: it runs, or it has ended in one of these ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// The job runs.
    Running,
    /// The job has ended because its input has ended.
    Finished,
    /// The job has ended because it was asked to stop.
    Stopped,
}

impl JobState {
    /// Returns the name of the state on the status page: `running`, `finished` or `stopped`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }
}

/// A snapshot of a job, as served at `/status` and reported at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The job's name.
    pub job: String,
    /// The state of the job: running, finished or stopped.
    pub state: JobState,
    /// Number of worker threads over all processes.
    pub workers: usize,
    /// Milliseconds since all workers were ready and the first epoch began.
    pub elapsed_ms: u64,
    /// Time by the job's clock, ms since the Unix epoch.
    pub now_ms: i64,
    /// The epoch from which the job was restored; `None` after a fresh start.
    pub restored_epoch: Option<u64>,
    /// The current epoch.
    pub epoch: u64,
    /// The newest committed epoch; `None` before the first commit.
    pub committed_epoch: Option<u64>,
    /// Number of records in flight in this process.
    pub in_flight: i64,
    /// Number of records that wait for the watermark in event-time ordered operators of this process.
    pub pending: i64,
    /// Time from the tick that ends an epoch to its commit, microseconds.
    pub checkpoint_us: Percentiles,
    /// Number of bytes of deltas that this process has written.
    pub delta_bytes: u64,
    /// Number of checkpoint files that the job found removed or truncated by others while it ran. If it is not 0,
    /// first find out who removes files below the checkpoint directory.
    #[serde(default)]
    pub checkpoint_files_lost: u64,
    /// Estimated memory of keyed state in this process, bytes.
    pub state_bytes: u64,
    /// Number of connections that this process refused while the processes of the job connected, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mesh_refused: BTreeMap<String, u64>,
    /// The operators of this process.
    pub operators: Vec<OperatorSnapshot>,
}

impl Snapshot {
    /// Returns the operator, source or sink of this name.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&OperatorSnapshot> {
        self.operators.iter().find(|operator| operator.name == name)
    }
}

impl OperatorSnapshot {
    /// Returns the operator's counter of this name (`records_in`, `late`, …); 0 if it has no such counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// Returns the number of records that wait at the operator; `None` for one at which none can.
    #[must_use]
    pub fn queue(&self) -> Option<i64> {
        self.gauges.get("queue_records").copied()
    }
}

/// A snapshot of one operator, added up over the workers of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperatorSnapshot {
    /// The operator's name in the job.
    pub name: String,
    /// The kind of operator: `source`, `keyed`, `batch` (models and lookups), `sink`, `map`, …
    pub kind: String,
    /// Number of workers of the process that it runs on.
    #[serde(default)]
    pub workers: usize,
    /// Watermark of the slowest worker, ms since the Unix epoch; absent before the first watermark.
    pub watermark_ms: Option<i64>,
    /// Counters by name: `records_in`, `records_out`, `late` (of a source `behind_watermark`), `dead_letters`,
    /// `busy_ns`, `idle_ns`, `backpressured_ns` and the operator's own.
    pub counters: BTreeMap<String, u64>,
    /// Estimated memory of the operator's keyed state, as it was when the running epoch began, bytes; absent for an
    /// operator without state.
    #[serde(default)]
    pub state_bytes: Option<u64>,
    /// The operator's own gauges, summed over the workers.
    pub gauges: BTreeMap<String, i64>,
    /// Percentiles of the operator's own distributions.
    pub distributions: BTreeMap<String, Percentiles>,
    /// Further details by name, such as measurements made at the start: the distinct values over the workers of
    /// this process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Vec<serde_json::Value>>,
    /// Number of dead letters by the class of their reason.
    #[serde(default)]
    pub dead_letters_by_reason: BTreeMap<String, u64>,
    /// The counters of the program's own logic ([`Context::counter`](crate::shell::Context::counter)), by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_counters: BTreeMap<String, u64>,
    /// The operator on each worker of the process that it runs on.
    #[serde(default)]
    pub per_worker: Vec<WorkerSnapshot>,
    /// The partitions of a source that reads partitions, on the workers of this process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionSnapshot>,
}

/// A snapshot of one partition of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartitionSnapshot {
    /// The name of the partition, such as `topic/3`.
    pub partition: String,
    /// Watermark of the partition, ms since the Unix epoch; absent before its first record.
    pub watermark_ms: Option<i64>,
    /// Number of records that are not read yet; absent while that is not known.
    pub pending: Option<i64>,
    /// What the source does with it: `active`, `idle`, `paused` or `done`.
    pub state: String,
}

/// A snapshot of one operator on one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Index of the worker among all workers of the job.
    pub worker: usize,
    /// Number of records that came in.
    pub records_in: u64,
    /// Number of records that went out.
    pub records_out: u64,
    /// Time in which the operator was busy, nanoseconds.
    pub busy_ns: u64,
    /// The part of it in which the worker was in the operator, nanoseconds. In the rest, threads or a writer of the
    /// operator's own were at work.
    #[serde(default)]
    pub turn_ns: u64,
    /// Time in which it had nothing to do, nanoseconds.
    pub idle_ns: u64,
    /// Time in which it was held back by what comes after it, nanoseconds.
    pub backpressured_ns: u64,
}
