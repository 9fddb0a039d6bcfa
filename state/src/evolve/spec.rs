//! What a state is called, which version its values have, and how long they live.

use std::fmt;

use crate::delta::Ops;
use crate::error::StateError;
use crate::evolve::parameters::Parameters;

/// The name of a state: unique within its job, the same in every run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateName {
    /// The operator that owns it.
    pub operator: String,
    /// Its name within the operator.
    pub state: String,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.operator, self.state)
    }
}

/// A state as its operator registers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSpec {
    /// Its name.
    pub name: StateName,
    /// Version of its values: the first byte of each stored one.
    pub version: u8,
    /// How long a value lives after it was last written; for ever by default.
    pub ttl: Option<Ttl>,
    /// What it is made with, where that can be told.
    pub parameters: Option<Parameters>,
}

/// How long a value lives after it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// This many milliseconds,
    pub after_ms: i64,
    /// by this clock.
    pub clock: TtlClock,
}

/// The clock of a TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlClock {
    /// The event time of the record or timer that reads or writes: the same in any replay.
    EventTime,
    /// The wall clock.
    ProcessingTime,
}

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
    fn warm(&self, hashes: &[u64]) {
        let _ = hashes;
    }

    /// Drops from memory what RocksDB has, until enough is free or nothing is left to drop.
    fn evict(&mut self) {}

    /// Names the kind in manifests.
    fn kind(&self) -> &'static str;

    /// What was registered.
    fn spec(&self) -> &StateSpec;
}
