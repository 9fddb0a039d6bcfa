//! The settings of one worker's state, and the checkpoint that it is restored from.

use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::evolve::changes::Changes;
use crate::ids::KeyGroups;

/// The settings of one worker's state: where and how it is kept.
#[derive(Clone, Debug)]
pub struct WorkerStateConfig {
    /// The folder that RocksDB works in; no other worker uses it. `None` in a simulated job, whose rows are kept in
    /// memory. Without the feature `rocksdb` rows are kept in memory in any case.
    pub dir: Option<PathBuf>,
    /// The key groups of the job.
    pub key_groups: KeyGroups,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers.
    pub workers: usize,
    /// Memory limit for this worker's hot state, in bytes (estimated); `None` for no limit. Entries that an epoch has
    /// changed stay in memory until RocksDB has applied the epoch's delta, even beyond the limit.
    pub memory_limit_bytes: Option<u64>,
    /// Whether epochs are written to a checkpoint store.
    pub durable: bool,
}

/// A part of the opening of a worker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartPart {
    /// The base of the checkpoint is fetched, and RocksDB has opened it.
    Base,
    /// The deltas are read.
    Deltas,
    /// An operator's state is loaded.
    Tables,
    /// Anything else between two states.
    Other,
}

/// The checkpoint to restore.
pub struct RestoredWorker {
    /// The manifest of the checkpoint, with the names it was written with.
    pub manifest: Arc<Manifest>,
    /// The names that were changed or dropped since.
    pub changes: Changes,
    /// The store that has the checkpoint's files.
    pub store: Arc<dyn CheckpointStore>,
    /// Number of workers of this process, which restore at the same time.
    pub restoring: usize,
}
