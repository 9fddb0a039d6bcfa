//! What the end of an epoch asks of every state.

use crate::checkpoint::delta::Ops;
use crate::error::StateError;
use crate::evolve::spec::StateSpec;

/// A state as the end of an epoch sees it.
pub trait Persistent {
    /// Begins to write what changed since the last call. What changes from now on is of the next epoch.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    fn begin_seal(&mut self, epoch: u64) -> Result<(), StateError>;

    /// Goes on writing, about so many entries. Gives the changes of the epoch when all are written.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    fn seal_on(&mut self, entries: usize) -> Result<Option<Ops>, StateError>;

    /// Sets the time of what comes next, a record or a timer: values with a TTL are read and written by it.
    fn set_now(&mut self, event_time_ms: i64, processing_time_ms: i64);

    /// Sets the time that has passed for all keys: what has expired by then can go.
    fn pass(&mut self, watermark_ms: i64, processing_time_ms: i64) {
        let _ = (watermark_ms, processing_time_ms);
    }

    /// Looks at the entries with these hashes, for nothing but to have them in the processor's caches: their turn is
    /// next, and misses that do not depend on each other are waited for together.
    fn prefetch(&self, hashes: &[u64]) {
        let _ = hashes;
    }

    /// Drops from memory what RocksDB has, until enough is free or nothing is left to drop.
    fn evict(&mut self) {}

    /// Names the kind in manifests.
    fn kind(&self) -> &'static str;

    /// What was registered.
    fn spec(&self) -> &StateSpec;
}
