//! The watermark of one split (a partition, a session, a stream) and whether it is idle. There is no I/O here.

use std::time::Duration;

#[cfg(any(feature = "kinesis", feature = "mqtt", feature = "redis"))]
use tidemill_engine::source::Batch;
use tidemill_engine::{Arrival, EventTime};

/// The progress of one split in event time.
#[derive(Clone, Debug)]
pub(crate) struct SplitProgress {
    watermark: EventTime,
    max_out_of_orderness: Duration,
    quiet_since: Arrival,
    idle: bool,
}

impl SplitProgress {
    pub(crate) fn new(watermark: EventTime, quiet_since: Arrival, max_out_of_orderness: Duration) -> Self {
        Self { watermark, max_out_of_orderness, quiet_since, idle: false }
    }

    /// Records that a message was read, which ends idleness. One that could not be decoded has no event time.
    pub(crate) fn read(&mut self, event_time: Option<EventTime>, now: Arrival) {
        if let Some(event_time) = event_time {
            self.watermark = self.watermark.max(event_time - self.max_out_of_orderness);
        }
        (self.idle, self.quiet_since) = (false, now);
    }

    /// Decides whether the split is idle now: nothing was read for `idle_after`, and, as far as its server has said,
    /// nothing waits to be read.
    pub(crate) fn judge(&mut self, now: Arrival, idle_after: Duration, nothing_waits: bool) {
        let quiet_us = now.0.saturating_sub(self.quiet_since.0);
        self.idle = nothing_waits && u128::from(quiet_us) >= idle_after.as_micros();
    }

    pub(crate) fn watermark(&self) -> EventTime {
        self.watermark
    }

    pub(crate) fn quiet_since(&self) -> Arrival {
        self.quiet_since
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }
}

/// Advances the watermark of a batch to the lowest of the splits that are not idle. If all are, it may follow the latest
/// record that was read.
#[cfg(any(feature = "kinesis", feature = "mqtt", feature = "redis"))]
pub(crate) fn promise<'a, T>(splits: impl Iterator<Item = &'a SplitProgress> + Clone, batch: &mut Batch<T>) {
    let watermarks = |idle| splits.clone().filter(move |split| split.is_idle() == idle).map(SplitProgress::watermark);
    match watermarks(false).min() {
        Some(watermark) => batch.advance_watermark(watermark),
        None => {
            if let Some(latest) = watermarks(true).max() {
                batch.advance_watermark(latest);
            }
            batch.mark_idle();
        }
    }
}
