//! The settings of a window operator: its clock, when it fires, what it emits, and how late records may be.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::Context;
use tidemill_engine::{EventTime, ProcessingTime};
use tidemill_state::{Key, Parameters};

use super::assigner::{Assigner, Cut};
use super::calendar::tzdata_version;
use crate::length::{length_ms, positive_ms};

/// The clock that decides which window a record is in, and when windows end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeDomain {
    /// The event times of records, and the watermark. Every replay gives the same results.
    #[default]
    Event,
    /// The wall clock. Results differ from replay to replay. Windows that are open when a bounded input ends fire then.
    Processing,
}

impl TimeDomain {
    /// Returns the name of the clock in manifests and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Event => "event time",
            Self::Processing => "processing time",
        }
    }

    /// Returns the time of the current record by this clock.
    pub(crate) fn of_record<K: Key, O, S>(self, ctx: &Context<'_, K, O, S>) -> EventTime {
        match self {
            Self::Event => ctx.event_time(),
            Self::Processing => EventTime(ctx.processing_time().0),
        }
    }

    /// Returns the current time of this clock. A record from before it is late.
    pub(crate) fn now<K: Key, O, S>(self, ctx: &Context<'_, K, O, S>) -> EventTime {
        match self {
            Self::Event => ctx.watermark(),
            Self::Processing => EventTime(ctx.processing_time().0),
        }
    }

    pub(crate) fn set_timer<K: Key, O, S>(self, ctx: &mut Context<'_, K, O, S>, at: EventTime) {
        match self {
            Self::Event => ctx.set_timer(at),
            Self::Processing => {
                ctx.set_processing_timer(ProcessingTime(at.0));
                // When the input ends, event time reaches its end but processing time does not.
                ctx.set_timer(EventTime::MAX);
            }
        }
    }

    pub(crate) fn cancel_timer<K: Key, O, S>(self, ctx: &mut Context<'_, K, O, S>, at: EventTime) {
        match self {
            Self::Event => ctx.cancel_timer(at),
            Self::Processing => ctx.cancel_processing_timer(ProcessingTime(at.0)),
        };
    }
}

/// The trigger of a window: when it fires in addition to on time, which is when the watermark passes its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trigger {
    #[serde(rename = "early_every")]
    pub(crate) early: Option<Early>,
    #[serde(rename = "every_records")]
    pub(crate) records: Option<NonZeroU64>,
    pub(crate) late_at_end: bool,
}

/// The interval at which a window fires early, and the clock that measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Early {
    #[serde(with = "humantime_serde")]
    every: Duration,
    #[serde(default)]
    clock: TimeDomain,
}

impl Trigger {
    /// Fires only on time, and again for each late record within the allowed lateness.
    #[must_use]
    pub const fn on_watermark() -> Self {
        Self { early: None, records: None, late_at_end: false }
    }

    /// Fires early, too: at each multiple of `every` on `clock`, if records have come since the window last fired.
    #[must_use]
    pub const fn early_every(mut self, every: Duration, clock: TimeDomain) -> Self {
        self.early = Some(Early { every, clock });
        self
    }

    /// Fires early, too, whenever `records` records have come since the window last fired. 0 is taken as 1.
    #[must_use]
    pub const fn every_records(mut self, records: u64) -> Self {
        self.records = NonZeroU64::new(if records == 0 { 1 } else { records });
        self
    }

    /// Fires once for all late records, when the allowed lateness is over, instead of once for each as it comes.
    #[must_use]
    pub const fn late_at_end(mut self) -> Self {
        self.late_at_end = true;
        self
    }
}

/// The accumulation mode: how the results of a window that fires more than once relate to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccumulationMode {
    /// Each result covers all records so far and replaces the previous result.
    #[default]
    Accumulating,
    /// Each result covers only the records since the previous result. They are to be added up downstream.
    Discarding,
    /// Each result covers all records so far, and the previous result is retracted first ([`Firing::Retraction`]).
    Retracting,
}

/// The reason why a window emitted a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Firing {
    /// The trigger fired the window before its end.
    Early,
    /// The watermark passed the end of the window, or a count window became full.
    OnTime,
    /// Late records came within the allowed lateness.
    Late,
    /// An earlier result of the window is retracted: it is no longer valid.
    Retraction,
}

/// All settings of a window operator. In a file only the assigner is needed; durations are written as `1s` or `5m`:
/// `{"assigner": {"tumbling": {"size": "10m"}}, "allowed_lateness": "1m", "trigger": {"every_records": 100}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// The assigner, which cuts time into windows.
    pub assigner: Assigner,
    /// The clock that the windows follow.
    #[serde(default)]
    pub clock: TimeDomain,
    /// Length of time after its end for which a window still takes late records.
    #[serde(default, with = "humantime_serde")]
    pub allowed_lateness: Duration,
    /// The trigger, which decides when a window fires.
    #[serde(default)]
    pub trigger: Trigger,
    /// The mode, which decides what a window emits that fires more than once.
    #[serde(default)]
    pub mode: AccumulationMode,
}

impl WindowSpec {
    /// Returns the settings of event-time windows that fire on time, without allowed lateness.
    #[must_use]
    pub const fn new(assigner: Assigner) -> Self {
        Self {
            assigner,
            clock: TimeDomain::Event,
            allowed_lateness: Duration::ZERO,
            trigger: Trigger::on_watermark(),
            mode: AccumulationMode::Accumulating,
        }
    }

    /// Checks all settings, and returns the plan that the operator follows.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let Self { assigner, clock, allowed_lateness, trigger, mode } = *self;
        let cut = assigner.cut()?;
        let allowed_lateness_ms = length_ms("the allowed lateness of windows", allowed_lateness)?;
        let early = match trigger.early {
            Some(Early { every, clock }) => {
                Some((positive_ms("the interval of a trigger's early results", every)?, clock))
            }
            None => None,
        };
        if clock == TimeDomain::Processing && matches!(early, Some((_, TimeDomain::Event))) {
            return Err(
                "windows of processing time fire early by processing time only: their ends are not event times".into(),
            );
        }
        let counted = matches!(cut, Cut::Count { .. });
        if counted && (trigger != Trigger::on_watermark() || mode != AccumulationMode::Accumulating) {
            return Err("count windows fire when they are full: they take no trigger and no mode".to_owned());
        }
        Ok(Plan { cut, clock, allowed_lateness_ms, trigger, early, mode })
    }
}

/// A checked [`WindowSpec`] with its lengths in milliseconds, as it is used for each record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(super) cut: Cut,
    pub(super) clock: TimeDomain,
    pub(super) allowed_lateness_ms: i64,
    pub(super) trigger: Trigger,
    /// The interval of early results in milliseconds, and the clock that measures it.
    pub(super) early: Option<(i64, TimeDomain)>,
    pub(super) mode: AccumulationMode,
}

impl Plan {
    /// Describes all settings that the stored windows depend on: when their timers are set, what has been emitted,
    /// and which records are in them.
    fn describe(&self, aggregate: &str) -> String {
        let Self { cut, clock, allowed_lateness_ms, trigger, early, mode } = self;
        let (windows, clock) = (cut.parameters(), clock.name());
        let early =
            early.map_or_else(String::new, |(every_ms, of)| format!(", early every {every_ms} ms of {}", of.name()));
        let records = trigger.records.map_or_else(String::new, |records| format!(", early every {records} records"));
        let late = if trigger.late_at_end { ", late ones together" } else { "" };
        let of = if aggregate.is_empty() { String::new() } else { format!(", {aggregate}") };
        format!(
            "{windows} of {clock}, allowed lateness {allowed_lateness_ms} ms, fired on time{early}{records}{late}, {mode:?}{of}"
        )
    }

    /// Returns the parameters that a checkpoint keeps with the state of the windows. `aggregate` describes the
    /// aggregate.
    pub(crate) fn state_parameters(&self, aggregate: &str) -> Parameters {
        const STATES: &[&str] = &["windows", "slices", "counted"];
        let text = self.describe(aggregate);
        if !matches!(self.cut, Cut::Calendar { .. }) {
            return Parameters::new(text).of_one_of(STATES);
        }
        // Time zones sometimes change their rules for future times. Open windows keep the bounds that they have.
        let rules = |version: &str| format!("{text} (tzdata {version})");
        let (now, prefix) = (rules(tzdata_version()), format!("{text} (tzdata "));
        Parameters::new(now).or_from(move |stored| stored.starts_with(&prefix)).of_one_of(STATES)
    }

    /// Returns whether windows may share slices: they may if each fires only on time and again for each late record.
    pub(crate) fn shares_slices(&self) -> bool {
        self.trigger == Trigger::on_watermark() && self.mode == AccumulationMode::Accumulating
    }
}

#[cfg(test)]
mod tests {
    use tidemill_engine::time::{millis, minutes, secs};

    use super::super::calendar::{Period, Weekday, Zone};
    use super::*;

    #[test]
    fn window_specs_are_data() {
        let zone = Zone::named("Europe/Vienna");
        for assigner in [
            Assigner::tumbling(minutes(10)),
            Assigner::Sliding { size: minutes(10), slide: minutes(1), offset: millis(5) },
            Assigner::session(secs(30)),
            Assigner::Global,
            Assigner::Count { size: 10, every: 2 },
            Assigner::days("UTC"),
            Assigner::Calendar { period: Period::Week { from: Weekday::Sunday }, zone },
        ] {
            let spec = WindowSpec {
                clock: TimeDomain::Processing,
                allowed_lateness: secs(7),
                trigger: Trigger::on_watermark().early_every(secs(1), TimeDomain::Event).every_records(9).late_at_end(),
                mode: AccumulationMode::Retracting,
                ..WindowSpec::new(assigner)
            };
            for spec in [spec, WindowSpec::new(assigner)] {
                let json = serde_json::to_string(&spec).unwrap();
                assert_eq!(serde_json::from_str::<WindowSpec>(&json).unwrap(), spec, "{json}");
            }
        }
        let short = r#"{"assigner":{"tumbling":{"size":"10m"}},"trigger":{"early_every":{"every":"1s"}}}"#;
        let spec = WindowSpec {
            trigger: Trigger::on_watermark().early_every(secs(1), TimeDomain::Event),
            ..WindowSpec::new(Assigner::tumbling(minutes(10)))
        };
        assert_eq!(serde_json::from_str::<WindowSpec>(short).unwrap(), spec);
        for wrong in [r#"{"assigner":{"tumbling":{"sise":"10m"}}}"#, r#"{"assigner":"global","lateness":"1s"}"#] {
            assert!(serde_json::from_str::<WindowSpec>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn windows_of_processing_time_do_not_fire_early_by_event_time() {
        let early = |clock, of| WindowSpec {
            clock,
            trigger: Trigger::on_watermark().early_every(millis(10), of),
            ..WindowSpec::new(Assigner::tumbling(millis(100)))
        };
        assert!(early(TimeDomain::Processing, TimeDomain::Event).plan().is_err());
        for (clock, of) in [
            (TimeDomain::Event, TimeDomain::Event),
            (TimeDomain::Event, TimeDomain::Processing),
            (TimeDomain::Processing, TimeDomain::Processing),
        ] {
            assert!(early(clock, of).plan().is_ok());
        }
    }
}
