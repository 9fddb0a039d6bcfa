//! What a state is called, which version its values have, and how long they live.

use std::fmt;

use crate::delta::Ops;
use crate::error::StateError;

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
    /// Writes every change since the last call.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    fn seal(&mut self, epoch: u64, ops: &mut Ops) -> Result<(), StateError>;

    /// Tells the time of what comes next, for values with a TTL: of a record, or (before a seal) the watermark,
    /// by which what has expired can go.
    fn set_now(&mut self, event_time_ms: i64, processing_time_ms: i64);

    /// Drops from memory what RocksDB has, until enough is free or nothing is left to drop.
    fn evict(&mut self) {}

    /// Names the kind in manifests.
    fn kind(&self) -> &'static str;

    /// What was registered.
    fn spec(&self) -> &StateSpec;
}
