//! The target of checkpoints, and the amount that was written to it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use tidemill_state::{CheckpointStore, Retention};

use super::history::History;

/// The target of checkpoints. A job without checkpoints has none.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) retention: Retention,
    pub(crate) incarnation: u64,
}

/// What the checkpoint threads of a process have written, for metrics and the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// Number of bytes of deltas.
    pub(crate) delta_bytes: Arc<AtomicU64>,
    /// Number of checkpoint files that were found removed or truncated while the job ran.
    pub(crate) lost_files: Arc<AtomicU64>,
    /// Number of bytes that the store could still take when the last delta was in it; absent while that is not known.
    pub(crate) free_bytes: Arc<OnceLock<AtomicU64>>,
    /// The last checkpoints.
    pub(crate) history: History,
}
