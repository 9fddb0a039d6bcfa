//! Throttle: a maximum number of records of a key in an interval.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, EventTime, JobError, ProcessingTime, Record, Stream};
use tidemill_state::Key;

use crate::length::{invalid, positive_ms};
use crate::window::TimeDomain;

/// The rate of a throttle: how many records of a key pass in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Maximum number of records of a key in an interval.
    pub records: u64,
    /// Length of the interval, from its first record.
    #[serde(with = "humantime_serde")]
    pub per: Duration,
    /// The clock that measures the interval.
    #[serde(default)]
    pub clock: TimeDomain,
}

/// The outputs of a throttle.
pub struct ThrottleOutput<'s, D: Data> {
    /// Records within the rate.
    pub results: Stream<'s, D>,
    /// Records above the rate.
    pub excess: Stream<'s, D>,
}

/// Adds throttling to keyed streams.
pub trait ThrottleExt<'s, D: Data> {
    /// Lets at most as many records of a key pass in an interval as `rate` says. An interval begins with the first
    /// record after the previous interval is over.
    ///
    /// # Errors
    /// When the rate is invalid, the name is taken, or the state cannot be opened.
    fn throttle(self, name: &str, rate: Rate) -> Result<ThrottleOutput<'s, D>, JobError>;
}

impl<'s, K: Key, D: Data> ThrottleExt<'s, D> for KeyedStream<'s, K, D> {
    fn throttle(self, name: &str, rate: Rate) -> Result<ThrottleOutput<'s, D>, JobError> {
        let order = match rate.clock {
            TimeDomain::Event => Order::EventTime,
            TimeDomain::Processing => Order::Arrival,
        };
        let output = self.process(name, order, move |states: &mut States<'_, K>| ThrottleLogic::open(states, rate))?;
        Ok(ThrottleOutput { results: output.results, excess: output.side })
    }
}

/// Number of records of a key that have passed in the interval that began at `since`.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Passed {
    since: i64,
    records: u64,
}

/// The logic of a throttle. Records above the rate go to the side output.
pub struct ThrottleLogic<K, D> {
    rate: Rate,
    per_ms: i64,
    passed: ValueState<K, Passed>,
    record: std::marker::PhantomData<fn(D)>,
}

impl<K: Key, D: Data> ThrottleLogic<K, D> {
    /// Opens the state.
    ///
    /// # Errors
    /// When the rate is invalid or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, rate: Rate) -> Result<Self, JobError> {
        let Rate { records, per, clock } = rate;
        if records == 0 {
            return Err(invalid(states.operator(), "the records of a rate are 0: they must be above 0"));
        }
        let per_ms = positive_ms("the interval of a rate", per).map_err(|fault| invalid(states.operator(), fault))?;
        // The maximum number is not part of the parameters: records that have passed count against a new maximum, too.
        let mut states = states.with_parameters(format!("a rate per {per_ms} ms of {}", clock.name()));
        Ok(Self { rate, per_ms, passed: states.value("passed")?, record: std::marker::PhantomData })
    }
}

impl<K: Key, D: Data> ThrottleLogic<K, D> {
    /// Removes the state of an interval that is over at `at`.
    fn forget(&self, ctx: &Context<'_, K, D, D>, at: i64) -> Result<(), LogicError> {
        let since = self.passed.read(ctx, |passed| passed.map(|passed| passed.since))?;
        if since.is_some_and(|since| since.saturating_add(self.per_ms) <= at) {
            self.passed.remove(ctx)?;
        }
        Ok(())
    }
}

impl<K: Key, D: Data> KeyedLogic for ThrottleLogic<K, D> {
    type Key = K;
    type In = D;
    type Out = D;
    type Side = D;

    fn on_record(&mut self, ctx: &mut Context<'_, K, D, D>, record: Record<D>) -> Result<(), LogicError> {
        let time = self.rate.clock.of_record(ctx).0;
        // An interval that is over by now does not count, not even for late records.
        let now = time.max(self.rate.clock.now(ctx).0);
        let running = self.passed.get(ctx)?.filter(|passed| now.saturating_sub(passed.since) < self.per_ms);
        let Passed { since, records } = running.unwrap_or(Passed { since: time, records: 0 });
        if records < self.rate.records {
            self.passed.put(ctx, Passed { since, records: records + 1 })?;
            if records == 0 {
                self.rate.clock.set_timer(ctx, EventTime(since).plus_ms(self.per_ms));
            }
            ctx.emit(record.data);
        } else {
            ctx.side(record.data);
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, K, D, D>, at: EventTime) -> Result<(), LogicError> {
        self.forget(ctx, at.0)
    }

    fn on_processing_timer(&mut self, ctx: &mut Context<'_, K, D, D>, at: ProcessingTime) -> Result<(), LogicError> {
        self.forget(ctx, at.0)
    }
}
