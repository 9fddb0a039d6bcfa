//! What a state is called, which version its values have, and how long they live.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use super::shape::Layout;
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
    /// What it is made with, where that can be told.
    pub parameters: Option<Parameters>,
}

/// How long a value lives after it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// How long a value lives after it was last written: whole milliseconds, at least one.
    pub after: Duration,
    /// The clock that measures it.
    pub clock: TtlClock,
}

impl Ttl {
    /// Returns it in milliseconds, as expiry is computed and stored.
    pub(crate) fn after_ms(self, state: &StateName) -> Result<i64, StateError> {
        let after = self.after;
        i64::try_from(after.as_millis())
            .ok()
            .filter(|ms| *ms > 0 && after.subsec_nanos().is_multiple_of(1_000_000))
            .ok_or_else(|| {
                StateError::Invalid(format!(
                    "state \"{state}\": its values live for {after:?}: give whole milliseconds, from 1 to {}",
                    i64::MAX
                ))
            })
    }
}

/// The clock of a TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlClock {
    /// The event time of the record or timer that reads or writes: the same in any replay.
    EventTime,
    /// The wall clock.
    ProcessingTime,
}

/// A state in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// `operator/state`.
    pub name: String,
    /// Version of its values.
    pub version: u8,
    /// `value`, `log`, `timers`, `pending`.
    pub kind: String,
    /// What its rows look like; not told by manifests of 0.1.0 before states could evolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The parameters it was made with, where its operator tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
}
