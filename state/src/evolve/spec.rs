//! The registration of a state: its name, the version of its values, and how long they live.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use super::shape::Layout;
use crate::error::StateError;

/// The name of a state, unique within its job and the same in every run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateName {
    /// Name of the operator that owns the state.
    pub operator: String,
    /// Name of the state within the operator.
    pub state: String,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.operator, self.state)
    }
}

/// The description with which an operator registers a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSpec {
    /// Name of the state.
    pub name: StateName,
    /// Version of the values, which is the first byte of each stored value.
    pub version: u8,
    /// How long a value lives after it was last written; `None` for ever.
    pub ttl: Option<Ttl>,
    /// Parameters that the state depends on, if the operator describes them.
    pub parameters: Option<Parameters>,
}

/// The time to live of a state's values, after which they expire. In a file: `{"after": "10m", "clock": "event-time"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ttl {
    /// How long a value lives after it was last written: whole milliseconds, at least one.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    /// The clock that measures it. In a file it may be left out: event time.
    #[serde(default)]
    pub clock: TtlClock,
}

impl Ttl {
    /// Returns the lifetime in milliseconds, the unit in which expiry is computed and stored.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TtlClock {
    /// The event time of the record or timer that reads or writes, which is the same in any replay.
    #[default]
    EventTime,
    /// Processing time: the wall clock.
    ProcessingTime,
}

/// A state as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// Name of the state, as `operator/state`.
    pub name: String,
    /// Version of the values.
    pub version: u8,
    /// Kind of the state: `value`, `log`, `timers` or `pending`.
    pub kind: String,
    /// Layout of the rows; missing in manifests of 0.1.0 from before states could evolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Parameters that the state was made with, if its operator describes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
}

impl StateEntry {
    /// The fields of the first version that wrote them.
    pub(crate) const FIELDS: [&str; 5] = ["name", "version", "kind", "layout", "parameters"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_data() {
        let ttl = Ttl { after: Duration::from_secs(90), clock: TtlClock::ProcessingTime };
        let json = serde_json::to_string(&ttl).unwrap();
        assert_eq!(json, r#"{"after":"1m 30s","clock":"processing-time"}"#);
        assert_eq!(serde_json::from_str::<Ttl>(&json).unwrap(), ttl);
        let short: Ttl = serde_json::from_str(r#"{"after":"90s"}"#).unwrap();
        assert_eq!(short, Ttl { clock: TtlClock::EventTime, ..ttl });
        assert!(serde_json::from_str::<Ttl>(r#"{"after":"90s","clok":"event-time"}"#).is_err());
    }
}
