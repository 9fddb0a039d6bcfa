//! Where checkpoints go, and how much has gone there.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tidemill_state::{CheckpointStore, Retention};

/// Where checkpoints go; none in a job without them.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) retention: Retention,
    pub(crate) incarnation: u64,
}

/// What the threads of a process have written, for whoever looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// Bytes of deltas.
    pub(crate) delta_bytes: Arc<AtomicU64>,
    /// Files of checkpoints that were gone or cut while the job ran.
    pub(crate) lost_files: Arc<AtomicU64>,
}
