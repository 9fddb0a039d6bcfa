//! Where one worker keeps its state, and what it begins with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::evolve::changes::Changes;
use crate::ids::KeyGroups;

/// Where and how one worker keeps its state.
#[derive(Clone, Debug)]
pub struct WorkerStateConfig {
    /// The folder RocksDB works in; its own. Without one the job is simulated: rows are kept in memory. So they are where
    /// this crate is built without RocksDB.
    pub dir: Option<PathBuf>,
    /// Key groups of the job.
    pub key_groups: KeyGroups,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers.
    pub workers: usize,
    /// Memory for hot state of this worker, bytes (estimated). What an epoch has changed stays in
    /// memory until its delta is in RocksDB, also beyond the limit.
    pub memory_limit_bytes: Option<u64>,
    /// Whether epochs end up in a checkpoint store.
    pub durable: bool,
}

/// The checkpoint to restore.
pub struct RestoredWorker {
    /// What it consists of, by the names it was written with.
    pub manifest: Arc<Manifest>,
    /// What has other names now, or is gone.
    pub changes: Changes,
    /// Where its files are.
    pub store: Arc<dyn CheckpointStore>,
}
