//! What can be said of a window operator: by which clock, when it tells, what it tells, how late records may be.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::Context;
use tidemill_engine::{EventTime, ProcessingTime};
use tidemill_state::{Key, Parameters};

use super::assigner::{Assigner, Cut};
use super::calendar::tzdata_version;
use crate::length::{length_ms, positive_ms};

/// The clock that windows go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeDomain {
    /// The records' own time, and the watermark: the same answers in any replay.
    #[default]
    Event,
    /// The wall clock: answers differ from replay to replay. What is open when a bounded input ends is told then.
    Processing,
}

impl TimeDomain {
    /// For manifests and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Event => "event time",
            Self::Processing => "processing time",
        }
    }

    /// The time that the record at hand counts at.
    pub(crate) fn of_record<K: Key, O, S>(self, ctx: &Context<'_, K, O, S>) -> EventTime {
        match self {
            Self::Event => ctx.event_time(),
            Self::Processing => EventTime(ctx.processing_time().0),
        }
    }

    /// How far time has come: before it nothing comes but late.
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
                // Processing time does not run out with the input; event time does.
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

/// When a window tells its result besides on time, when the watermark passes its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    pub(crate) early: Option<(Duration, TimeDomain)>,
    pub(crate) records: Option<NonZeroU64>,
    pub(crate) late_at_end: bool,
}

impl Trigger {
    /// Only on time, and again with each late record within the allowed lateness.
    #[must_use]
    pub const fn on_watermark() -> Self {
        Self { early: None, records: None, late_at_end: false }
    }

    /// Fires early, too: at each multiple of `every` by this clock at which records have come since the window last fired.
    #[must_use]
    pub const fn early_every(mut self, every: Duration, clock: TimeDomain) -> Self {
        self.early = Some((every, clock));
        self
    }

    /// Also early, whenever so many records came since it last told. 0 is taken as 1.
    #[must_use]
    pub const fn every_records(mut self, records: u64) -> Self {
        self.records = NonZeroU64::new(if records == 0 { 1 } else { records });
        self
    }

    /// Late records together, when the allowed lateness is over, in place of each at once.
    #[must_use]
    pub const fn late_at_end(mut self) -> Self {
        self.late_at_end = true;
        self
    }
}

/// What a window that fires more than once makes of the results that it has emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccumulationMode {
    /// Each result is of all records so far and replaces the one before.
    #[default]
    Accumulating,
    /// Each result is of the records since the one before: to be added up downstream.
    Discarding,
    /// As accumulating, and the result before is taken back first ([`Firing::Retraction`]).
    Retracting,
}

/// Why a window told a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Firing {
    /// Its trigger said so before its time.
    Early,
    /// The watermark passed its end, or (count windows) it is full.
    OnTime,
    /// Late records came.
    Late,
    /// An earlier result of the window does not hold any more.
    Retraction,
}

/// All that can be said of a window operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// How time is cut.
    pub assigner: Assigner,
    /// By which clock.
    pub clock: TimeDomain,
    /// How long after its end a window still takes late records.
    pub allowed_lateness: Duration,
    /// When it tells.
    pub trigger: Trigger,
    /// What it tells.
    pub mode: AccumulationMode,
}

impl WindowSpec {
    /// Windows of event time, told on time, without allowed lateness.
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

    /// Returns what the operator goes by, if all of it makes sense.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let Self { assigner, clock, allowed_lateness, trigger, mode } = *self;
        let cut = assigner.cut()?;
        let allowed_lateness_ms = length_ms("the allowed lateness of windows", allowed_lateness)?;
        let early = match trigger.early {
            Some((every, of)) => Some((positive_ms("the interval of a trigger's early results", every)?, of)),
            None => None,
        };
        if clock == TimeDomain::Processing && matches!(early, Some((_, TimeDomain::Event))) {
            return Err(
                "windows of processing time fire early by processing time: event time says nothing of them".into()
            );
        }
        let counted = matches!(cut, Cut::Count { .. });
        if counted && (trigger != Trigger::on_watermark() || mode != AccumulationMode::Accumulating) {
            return Err("count windows fire when they are full: they take no trigger and no mode".to_owned());
        }
        Ok(Plan { cut, clock, allowed_lateness_ms, trigger, early, mode })
    }
}

/// A [`WindowSpec`] that makes sense, with its lengths in milliseconds: what is asked for each record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(super) cut: Cut,
    pub(super) clock: TimeDomain,
    pub(super) allowed_lateness_ms: i64,
    pub(super) trigger: Trigger,
    /// How often the trigger fires early, in milliseconds.
    pub(super) early: Option<(i64, TimeDomain)>,
    pub(super) mode: AccumulationMode,
}

impl Plan {
    /// Everything that is kept of windows depends on all of this: when their timers are set, what has been emitted, which
    /// records are in them.
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

    /// What the state of the windows was made with. `aggregate` is what is to be known of the aggregate.
    pub(crate) fn state_parameters(&self, aggregate: &str) -> Parameters {
        const STATES: &[&str] = &["windows", "slices", "counted"];
        let text = self.describe(aggregate);
        if !matches!(self.cut, Cut::Calendar { .. }) {
            return Parameters::new(text).of_one_of(STATES);
        }
        // Time zones change their rules now and then, for times to come. Windows that are open keep the bounds they have.
        let rules = |version: &str| format!("{text} (tzdata {version})");
        let (now, prefix) = (rules(tzdata_version()), format!("{text} (tzdata "));
        Parameters::new(now).or_from(move |stored| stored.starts_with(&prefix)).of_one_of(STATES)
    }

    /// Whether windows may share slices: each tells on time only, or once more with each late record.
    pub(crate) fn shares_slices(&self) -> bool {
        self.trigger == Trigger::on_watermark() && self.mode == AccumulationMode::Accumulating
    }
}

#[cfg(test)]
mod tests {
    use tidemill_engine::time::millis;

    use super::*;

    #[test]
    fn windows_of_processing_time_do_not_tell_early_by_event_time() {
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
