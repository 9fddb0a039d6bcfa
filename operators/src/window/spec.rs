//! What can be said of a window operator: by which clock, when it tells, what it tells, how late records may be.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::Context;
use tidemill_engine::{EventTime, ProcessingTime};
use tidemill_state::{Key, Parameters};

use super::assigner::Assigner;
use super::calendar::tzdata_version;

/// The clock that windows go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    pub(crate) early: Option<(i64, TimeDomain)>,
    pub(crate) records: Option<NonZeroU64>,
    pub(crate) late_at_end: bool,
}

impl Trigger {
    /// Only on time, and again with each late record within the allowed lateness.
    #[must_use]
    pub const fn on_watermark() -> Self {
        Self { early: None, records: None, late_at_end: false }
    }

    /// Also early, at each multiple of `every_ms` in this clock, if something came since.
    #[must_use]
    pub const fn early_every_ms(mut self, every_ms: i64, clock: TimeDomain) -> Self {
        self.early = Some((every_ms, clock));
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

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { early, records, late_at_end } = self;
        f.write_str("on time")?;
        if let Some((every_ms, clock)) = early {
            write!(f, ", early every {every_ms} ms of {}", clock.name())?;
        }
        if let Some(records) = records {
            write!(f, ", early every {records} records")?;
        }
        f.write_str(if *late_at_end { ", late ones together" } else { "" })
    }
}

/// What a window that tells more than once makes of what it has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
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
    /// How long after its end a window still takes late records, ms.
    pub allowed_lateness_ms: i64,
    /// When it tells.
    pub trigger: Trigger,
    /// What it tells.
    pub mode: Mode,
}

impl WindowSpec {
    /// Windows of event time, told on time, without allowed lateness.
    #[must_use]
    pub const fn new(assigner: Assigner) -> Self {
        Self {
            assigner,
            clock: TimeDomain::Event,
            allowed_lateness_ms: 0,
            trigger: Trigger::on_watermark(),
            mode: Mode::Accumulating,
        }
    }

    /// Everything that is kept of windows depends on all of this: when their timers are set, what has been told, which records
    /// are in them.
    fn describe(&self, aggregate: &str) -> String {
        let Self { assigner, clock, allowed_lateness_ms, trigger, mode } = self;
        let (windows, clock) = (assigner.parameters(), clock.name());
        let of = if aggregate.is_empty() { String::new() } else { format!(", {aggregate}") };
        format!("{windows} of {clock}, allowed lateness {allowed_lateness_ms} ms, told {trigger}, {mode:?}{of}")
    }

    /// What the state of the windows was made with. `aggregate` is what is to be known of the aggregate.
    pub(crate) fn state_parameters(&self, aggregate: &str) -> Parameters {
        const STATES: &[&str] = &["windows", "slices", "counted"];
        let text = self.describe(aggregate);
        if !matches!(self.assigner, Assigner::Calendar { .. }) {
            return Parameters::new(text).of_one_of(STATES);
        }
        // Time zones change their rules now and then, for times to come. Windows that are open keep the bounds they have.
        let rules = |version: &str| format!("{text} (tzdata {version})");
        let (now, prefix) = (rules(tzdata_version()), format!("{text} (tzdata "));
        Parameters::new(now).or_from(move |stored| stored.starts_with(&prefix)).of_one_of(STATES)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.assigner.check()?;
        if let Some((every_ms, _)) = self.trigger.early
            && every_ms <= 0
        {
            return Err(format!("a trigger every {every_ms} ms"));
        }
        if self.clock == TimeDomain::Processing && matches!(self.trigger.early, Some((_, TimeDomain::Event))) {
            return Err(
                "windows of processing time tell early by processing time: event time says nothing of them".into()
            );
        }
        let counted = matches!(self.assigner, Assigner::Count { .. });
        if counted && (self.trigger != Trigger::on_watermark() || self.mode != Mode::Accumulating) {
            return Err("count windows tell when they are full: they take no trigger and no mode".to_owned());
        }
        Ok(())
    }

    /// Whether windows may share slices: each tells on time only, or once more with each late record.
    pub(crate) fn shares_slices(&self) -> bool {
        self.trigger == Trigger::on_watermark() && self.mode == Mode::Accumulating
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_processing_time_do_not_tell_early_by_event_time() {
        let early = |clock, of| WindowSpec {
            clock,
            trigger: Trigger::on_watermark().early_every_ms(10, of),
            ..WindowSpec::new(Assigner::tumbling(100))
        };
        assert!(early(TimeDomain::Processing, TimeDomain::Event).check().is_err());
        for (clock, of) in [
            (TimeDomain::Event, TimeDomain::Event),
            (TimeDomain::Event, TimeDomain::Processing),
            (TimeDomain::Processing, TimeDomain::Processing),
        ] {
            assert_eq!(early(clock, of).check(), Ok(()));
        }
    }
}
