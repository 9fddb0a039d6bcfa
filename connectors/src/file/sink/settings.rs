//! When parts are closed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::Record;

/// Returns the folder of a record, below that of the sink.
pub(super) type Partition<T> = dyn Fn(&Record<T>) -> String + Send + Sync;

/// Settings of when a part is closed, and appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollSettings {
    /// Time for which records may wait for their part to be closed, at the end of an epoch; default: 0, so that each epoch
    /// has parts of its own.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Size of all that waits on a worker, from which on the parts are closed earlier; default: 128 MiB. Parts of Parquet
    /// that are put together are smaller than what waited.
    pub max_bytes: u64,
}

impl Default for RollSettings {
    fn default() -> Self {
        Self { interval: Duration::ZERO, max_bytes: 128 * 1024 * 1024 }
    }
}
