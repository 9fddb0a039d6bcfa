//! The calls that every kind of state answers, above all at the end of an epoch.

use std::any::Any;

use crate::checkpoint::delta::Ops;
use crate::error::StateError;
use crate::evolve::spec::StateSpec;

/// A state of any kind, as the end of an epoch and the passing of time drive it.
pub trait Persistent {
    /// Begins to write the changes since the last call. Changes from now on belong to the next epoch.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    fn begin_seal(&mut self, epoch: u64) -> Result<(), StateError>;

    /// Continues writing, about `entries` entries. Returns the changes of the epoch once all are written.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    fn seal_on(&mut self, entries: usize) -> Result<Option<Ops>, StateError>;

    /// Sets the time of the record or timer that comes next: values with a TTL are read and written at this time.
    fn set_now(&mut self, event_time_ms: i64, processing_time_ms: i64);

    /// Sets the time that has passed for all keys: entries that have expired by then can be removed.
    fn pass(&mut self, watermark_ms: i64, processing_time_ms: i64) {
        let _ = (watermark_ms, processing_time_ms);
    }

    /// Prefetches the entries with these hashes into the processor's caches. They are needed next, and reading them
    /// together lets the processor wait for independent cache misses at the same time.
    fn prefetch(&self, hashes: &[u64]) {
        let _ = hashes;
    }

    /// Returns whether some entries may not be in memory, so that [`load_ahead`](Self::load_ahead) has something to do.
    fn is_partial(&self) -> bool {
        false
    }

    /// Loads the entries of the keys that are needed next, if they are not in memory: reading them together takes less
    /// time than one by one. `keys` is a `Vec` of the operator's keys. A state that the operator asks for less than once
    /// in two keys does not read ahead.
    ///
    /// # Errors
    /// When stored rows cannot be read.
    fn load_ahead(&mut self, keys: &dyn Any) -> Result<(), StateError> {
        let _ = keys;
        Ok(())
    }

    /// Evicts from memory entries that RocksDB has, until enough memory is free or nothing is left to evict.
    fn evict(&mut self) {}

    /// Returns the memory that the state takes, in bytes (estimated); `None` if it is not counted.
    fn memory_used(&self) -> Option<u64> {
        None
    }

    /// Loads about `rows` more rows into memory, if not all were loaded when the state was opened. Returns whether there are
    /// more.
    ///
    /// # Errors
    /// When a row cannot be read.
    fn load_on(&mut self, rows: usize) -> Result<bool, StateError> {
        let _ = rows;
        Ok(false)
    }

    /// Returns the name of the kind in manifests.
    fn kind(&self) -> &'static str;

    /// Returns the spec that the state was registered with.
    fn spec(&self) -> &StateSpec;
}
