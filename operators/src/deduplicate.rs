//! Deduplication: the first record of a key within a horizon, by event time.

use std::time::Duration;

use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, JobError, Record, Stream};
use tidemill_state::{Key, Ttl, TtlClock};

use crate::length::{invalid, positive_ms};

/// The outputs of a deduplication.
pub struct DeduplicateOutput<'s, D: Data> {
    /// The first record of each key, and then each first record that is at least the horizon after the one before.
    pub results: Stream<'s, D>,
    /// The other records.
    pub duplicates: Stream<'s, D>,
}

/// Adds deduplication to keyed streams.
pub trait DeduplicateExt<'s, D: Data> {
    /// Emits one record of a key, and treats records that are less than `horizon` away from it as duplicates. Key the
    /// stream by the fields that make two records the same. The state of a key lives as long as the horizon.
    ///
    /// # Errors
    /// When the horizon is zero or has fractions of a millisecond, the name is taken, or the state cannot be opened.
    fn deduplicate(self, name: &str, horizon: Duration) -> Result<DeduplicateOutput<'s, D>, JobError>;
}

impl<'s, K: Key, D: Data> DeduplicateExt<'s, D> for KeyedStream<'s, K, D> {
    fn deduplicate(self, name: &str, horizon: Duration) -> Result<DeduplicateOutput<'s, D>, JobError> {
        let open = move |states: &mut States<'_, K>| DeduplicateLogic::open(states, horizon);
        let output = self.process(name, Order::EventTime, open)?;
        Ok(DeduplicateOutput { results: output.results, duplicates: output.side })
    }
}

/// The logic of a deduplication. Duplicates go to the side output.
pub struct DeduplicateLogic<K, D> {
    horizon_ms: i64,
    /// The event time of the latest record that was emitted.
    passed: ValueState<K, i64>,
    record: std::marker::PhantomData<fn(D)>,
}

impl<K: Key, D: Data> DeduplicateLogic<K, D> {
    /// Opens the state.
    ///
    /// # Errors
    /// When the horizon is zero or has fractions of a millisecond, or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, horizon: Duration) -> Result<Self, JobError> {
        let horizon_ms = positive_ms("the horizon of a deduplication", horizon);
        let horizon_ms = horizon_ms.map_err(|fault| invalid(states.operator(), fault))?;
        let ttl = Ttl { after: horizon, clock: TtlClock::EventTime };
        // With a longer horizon than before, a record could be emitted again whose key has expired already.
        let mut states = states.with_parameters(format!("a horizon of {horizon_ms} ms"));
        Ok(Self { horizon_ms, passed: states.value_with_ttl("passed", ttl)?, record: std::marker::PhantomData })
    }
}

impl<K: Key, D: Data> KeyedLogic for DeduplicateLogic<K, D> {
    type Key = K;
    type In = D;
    type Out = D;
    type Side = D;

    fn on_record(&mut self, ctx: &mut Context<'_, K, D, D>, record: Record<D>) -> Result<(), LogicError> {
        let time = record.event_time.0;
        // State that has expired by the watermark may or may not have been removed yet, so it does not count.
        let alive = |passed: &i64| passed.saturating_add(self.horizon_ms) > ctx.watermark().0;
        let passed = self.passed.get(ctx)?.filter(alive);
        if passed.is_some_and(|passed| passed.abs_diff(time) < self.horizon_ms.unsigned_abs()) {
            ctx.side(record.data);
            return Ok(());
        }
        // A record that is late by more than the horizon is emitted, but does not replace the time of the latest one.
        if passed.is_none_or(|passed| passed < time) {
            self.passed.put(ctx, time)?;
        }
        ctx.emit(record.data);
        Ok(())
    }
}
