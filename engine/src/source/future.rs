//! Event times ahead of the clock: a record that is too far ahead becomes a dead letter, and a warning is logged once
//! when a watermark is far ahead.

use std::time::Duration;

use super::reading::TooFarAhead;
use crate::clock::Clock;
use crate::metrics::{Counter, OperatorMetrics};
use crate::record::{Arrival, DeadLetter};
use crate::time::EventTime;
use crate::worker::WorkerContext;

/// How far a watermark may be ahead of the clock without a warning, in ms: a day, since the clocks of all time zones
/// differ by no more.
const REMARKABLE: i64 = 86_400_000;

pub(super) struct FutureEvents {
    /// The source's lead, in ms: by how much its event times are ahead by nature.
    lead_ms: i64,
    /// How far event times may be ahead of clock and lead, in ms, and the counter of the records that were further
    /// ahead.
    max_ahead: Option<(i64, Counter)>,
    is_remarked: bool,
}

impl FutureEvents {
    pub(super) fn new(lead_ms: i64, max_ahead_ms: Option<i64>, metrics: &OperatorMetrics) -> Self {
        let max_ahead = max_ahead_ms.map(|ms| (ms, metrics.counter("too_far_ahead")));
        Self { lead_ms, max_ahead, is_remarked: false }
    }

    /// Returns the latest event time that is not too far ahead of the clock.
    pub(super) fn latest(&self, clock: &Clock) -> EventTime {
        let Some((ms, _)) = &self.max_ahead else { return EventTime::MAX };
        EventTime(clock.processing_time().0).plus_ms(self.lead_ms).plus_ms(*ms)
    }

    /// Makes dead letters of the records that were too far ahead when they were read.
    pub(super) fn refuse(&self, records: Vec<TooFarAhead>, read: Arrival, source: &str, to: &mut Vec<DeadLetter>) {
        let Some((max_ahead_ms, count)) = &self.max_ahead else { return };
        let now = EventTime((read.0 / 1000) as i64).plus_ms(self.lead_ms);
        count.add(records.len() as u64);
        for TooFarAhead { event_time, origin, content } in records {
            let reason = format!(
                "its event time {} is {} s ahead of the clock, and {} s are allowed (max_ahead)",
                event_time.readable(),
                event_time.ms_since(now) / 1000,
                max_ahead_ms / 1000
            );
            let origin = if origin.is_empty() { source.to_owned() } else { origin };
            to.push(DeadLetter::new(source, origin, reason, content.as_bytes()));
        }
    }

    /// Warns once when the batch that was read, whose latest event time is `by`, has moved the watermark far ahead
    /// of the clock.
    pub(super) fn remark(&mut self, context: &WorkerContext, source: &str, to: EventTime, by: EventTime) {
        let clock = &context.process.clock;
        let ahead_ms = to.plus_ms(-self.lead_ms).ms_since(EventTime(clock.processing_time().0));
        if self.is_remarked || !clock.is_system() || ahead_ms < REMARKABLE || to == EventTime::MAX {
            return;
        }
        self.is_remarked = true;
        tracing::warn!(
            source,
            worker = context.worker,
            watermark = to.readable(),
            ahead = %humantime::format_duration(Duration::from_secs(ahead_ms.unsigned_abs() / 1000)),
            event_time = by.readable(),
            "a record of this event time has moved the watermark far ahead of the clock: records that follow are late; set `max_ahead` to make such records dead letters instead"
        );
    }
}
