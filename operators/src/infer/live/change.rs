//! The changes that can be made to the models of an operator while the job runs: as they are asked for, and as they are in
//! the control log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_engine::EventTime;

use super::bucket::BUCKETS;
use super::rollout::Rollout;
use crate::infer::versions::VersionId;
use crate::infer::wanted::ModelRef;

/// A change as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Wish {
    /// Another version becomes the primary one.
    Switch {
        model: ModelRef,
        /// RFC 3339, or milliseconds since the Unix epoch. Without it, the switch is with the next epoch.
        from_event_time: Option<EventTime>,
    },
    /// A share of the keys is scored by another version.
    Canary {
        model: ModelRef,
        /// 0 to 1.
        share: f64,
        seed: Option<String>,
    },
    /// Another version scores as well, and its scores are only compared.
    Shadow {
        model: ModelRef,
        #[serde(default = "everything")]
        sample: f64,
    },
    /// Another version is rolled out step by step.
    Rollout {
        model: ModelRef,
        #[serde(default)]
        settings: Rollout,
    },
    /// A rollout stays where it is, or goes on.
    Suspend(bool),
    /// A decision of a rollout.
    Decided { rollout: String, change: Change },
    /// The canary becomes the primary version.
    Promote {},
    /// The canary, or the rollout, ends; if there is none, the version before the last switch becomes the primary one.
    RollBack {},
    /// The canary, the shadow or the rollout ends.
    End(Extra),
}

fn everything() -> f64 {
    1.0
}

/// A version that scores beside the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Extra {
    Canary,
    Shadow,
    Rollout,
}

/// A version, in the control log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Which {
    /// The model that the program is started with, or one of those that it was told of at the start.
    Program(usize),
    #[serde(untagged)]
    Version(VersionId),
}

/// A change as it is in the control log: it means the same at any time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Change {
    /// At once if there is no event time: then earlier switches do not matter any more.
    Switch {
        model: Which,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_event_time: Option<EventTime>,
    },
    Canary {
        model: Which,
        /// Number of buckets, of 10,000.
        buckets: u32,
        seed: String,
    },
    Shadow {
        model: Which,
        /// Number of buckets, of 10,000.
        buckets: u32,
    },
    Rollout {
        model: Which,
        settings: Box<Rollout>,
    },
    Suspend(bool),
    End(Extra),
}

impl Wish {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map_err(|error| format!("the change {value} is not understood: {error}"))
    }
}

impl Change {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map_err(|error| format!("the change {value} is not understood: {error}"))
    }

    pub(super) fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Returns the version that it brings.
    pub(super) fn model(&self) -> Option<&Which> {
        match self {
            Self::Switch { model, .. } | Self::Canary { model, .. } | Self::Shadow { model, .. } => Some(model),
            Self::Rollout { model, .. } => Some(model),
            Self::End(_) | Self::Suspend(_) => None,
        }
    }
}

/// Returns the event time of a switch, as somebody asks for it or as it is in the control log.
pub(super) fn from_event_time(change: &Value) -> Option<EventTime> {
    let from = change.get("switch")?.get("from_event_time")?;
    serde_json::from_value(from.clone()).ok()
}

/// Returns the number of buckets of a share.
pub(super) fn buckets(name: &str, share: f64) -> Result<u32, String> {
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("{name} is {share}: it is a share, from 0 to 1"));
    }
    Ok((share * f64::from(BUCKETS)).round() as u32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let version = std::num::NonZeroU64::new(3).unwrap();
        let id = VersionId { name: "fraud".to_owned(), version, sha256: "ab".to_owned() };
        for change in [
            Change::Switch { model: Which::Program(0), from_event_time: None },
            Change::Switch { model: Which::Version(id.clone()), from_event_time: Some(EventTime(7)) },
            Change::Canary { model: Which::Version(id.clone()), buckets: 500, seed: "fraud/3".to_owned() },
            Change::Shadow { model: Which::Version(id.clone()), buckets: 10_000 },
            Change::Rollout { model: Which::Version(id), settings: Box::default() },
            Change::Suspend(true),
            Change::End(Extra::Canary),
        ] {
            assert_eq!(Change::read(&change.value()).unwrap(), change, "{}", change.value());
            let is_later = matches!(change, Change::Switch { from_event_time: Some(_), .. });
            assert_eq!(from_event_time(&change.value()), is_later.then_some(EventTime(7)));
        }
    }

    #[test]
    fn a_wish_that_is_not_understood_is_an_error_that_shows_it() {
        let model = "fraud/3".parse().unwrap();
        let wish = json!({ "switch": { "model": "fraud/3" } });
        assert_eq!(Wish::read(&wish).unwrap(), Wish::Switch { model, from_event_time: None });
        assert_eq!(Wish::read(&json!({ "end": "canary" })).unwrap(), Wish::End(Extra::Canary));
        assert_eq!(Wish::read(&json!({ "promote": {} })).unwrap(), Wish::Promote {});
        for wrong in [
            json!({ "switch": { "model": "a/b/c" } }),
            json!({ "switch": { "model": "fraud", "share": 1 } }),
            json!({ "switch": {} }),
            json!({ "explode": {} }),
            json!("switch"),
            json!(null),
        ] {
            let error = Wish::read(&wrong).unwrap_err();
            assert!(error.contains("is not understood") && error.contains(&wrong.to_string()), "{error}");
        }
        assert_eq!(buckets("share", 0.05), Ok(500));
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(buckets("share", wrong).unwrap_err().contains("from 0 to 1"), "{wrong}");
        }
    }
}
