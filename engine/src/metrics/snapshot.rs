//! What a job is doing, for whoever looks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::Percentiles;

/// Whether a job runs, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// It runs.
    Running,
    /// Its input has ended.
    Finished,
    /// It was asked to stop.
    Stopped,
}

impl JobState {
    /// As the status page has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }
}

/// What a job is doing, as served at `/status` and reported at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The job's name.
    pub job: String,
    /// Whether it runs, or how it ended.
    pub state: JobState,
    /// Worker threads over all processes.
    pub workers: usize,
    /// Milliseconds since all workers were ready and the first epoch began.
    pub elapsed_ms: u64,
    /// The job's clock, ms since the Unix epoch.
    pub now_ms: i64,
    /// The epoch the job was restored from.
    pub restored_epoch: Option<u64>,
    /// The epoch that runs.
    pub epoch: u64,
    /// The newest committed epoch.
    pub committed_epoch: Option<u64>,
    /// Records under way in this process.
    pub in_flight: i64,
    /// Records that wait for the watermark in event-time ordered operators of this process.
    pub pending: i64,
    /// From the tick that ends an epoch to its commit, microseconds.
    pub checkpoint_us: Percentiles,
    /// Bytes of deltas written by this process.
    pub delta_bytes: u64,
    /// Checkpoint files that were removed or cut by others while the job ran, and were noticed. The first thing to look at when
    /// it is not 0: whoever removes files below the checkpoint directory.
    #[serde(default)]
    pub checkpoint_files_lost: u64,
    /// Memory that keyed state takes in this process, bytes, estimated.
    pub state_bytes: u64,
    /// Connections that this process refused while the processes of the job connected, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mesh_refused: BTreeMap<String, u64>,
    /// The operators of this process.
    pub operators: Vec<OperatorSnapshot>,
}

impl Snapshot {
    /// The operator, source or sink of this name.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&OperatorSnapshot> {
        self.operators.iter().find(|operator| operator.name == name)
    }
}

impl OperatorSnapshot {
    /// What the operator counted under this name (`records_in`, `late`, …); 0 where it counts no such thing.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

/// One operator, added up over the workers of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperatorSnapshot {
    /// The operator's name in the job.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// On how many workers of the process.
    #[serde(default)]
    pub workers: usize,
    /// Event time reached by the slowest worker, ms since the Unix epoch; absent before the first watermark.
    pub watermark_ms: Option<i64>,
    /// `records_in`, `records_out`, `late`, `dead_letters`, `busy_ns` and the operator's own.
    pub counters: BTreeMap<String, u64>,
    /// The operator's own gauges, summed over the workers.
    pub gauges: BTreeMap<String, i64>,
    /// Percentiles of what the operator measures.
    pub distributions: BTreeMap<String, Percentiles>,
    /// What else there is to know, by worker of this process where workers differ: what was measured at the start, ….
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Vec<serde_json::Value>>,
}
