//! The job that the server shows.

use std::path::PathBuf;
use std::sync::Arc;

use crate::metrics::Snapshot;
use crate::worker::Process;

/// Returns the status and the text of a probe: all of its checks if the argument says so.
pub(crate) type Probe = Box<dyn Fn(bool) -> (u16, String) + Send + Sync>;

/// Returns the content type and the content of the metrics for an `Accept` header.
pub(crate) type Exposition = Box<dyn Fn(Option<&str>) -> (&'static str, Vec<u8>) + Send + Sync>;

/// The job that the server shows, as far as this process knows it.
pub(crate) struct Watched {
    pub(crate) job: String,
    /// Number of workers over all processes.
    pub(crate) workers: usize,
    pub(crate) processes: usize,
    /// Where the processes connect to each other, by index: `host:port`. Empty in a job of one process.
    pub(crate) hosts: Vec<String>,
    /// Index of this process.
    pub(crate) index: usize,
    /// The settings in force.
    pub(crate) settings: serde_json::Value,
    pub(crate) checkpoint_seconds: f64,
    /// Directory of the checkpoints. A token that was drawn is written there; without one it is logged.
    pub(crate) checkpoint_dir: Option<PathBuf>,
    /// File with the token that requests have to have.
    pub(crate) token_file: Option<PathBuf>,
    /// Names under which the server may be asked, besides addresses and `localhost`.
    pub(crate) names: Vec<String>,
    pub(crate) state_limit_bytes: Option<u64>,
    /// Time at which the process began, ms since the Unix epoch by the job's clock.
    pub(crate) started_ms: i64,
    pub(crate) process: Arc<Process>,
    /// Returns the job as it is now.
    pub(crate) snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
    /// Returns the state of the job while it has not ended.
    pub(crate) state: Box<dyn Fn() -> &'static str + Send + Sync>,
    pub(crate) metrics: Exposition,
    pub(crate) live: Probe,
    pub(crate) ready: Probe,
}
