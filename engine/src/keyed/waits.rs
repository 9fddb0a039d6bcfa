//! How long records wait for the watermark: one of each batch is measured.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::metrics::{Distribution, OperatorMetrics};
use crate::record::Arrival;
use crate::time::EventTime;

/// Number of records that are measured at a time. Of more, those with the latest event times are left out: they may wait
/// for ever.
const AT_A_TIME: usize = 64;

/// The records that are measured.
pub(super) struct Waits {
    /// The event times of those that wait, and since when they do.
    waiting: BTreeSet<(EventTime, Arrival)>,
    times: Distribution,
}

impl Waits {
    pub(super) fn new(metrics: &Arc<OperatorMetrics>) -> Self {
        Self { waiting: BTreeSet::new(), times: metrics.distribution("pending_us") }
    }

    /// Notes that a record of this event time waits from `now` on.
    pub(super) fn begin(&mut self, event_time: EventTime, now: Arrival) {
        self.waiting.insert((event_time, now));
        if self.waiting.len() > AT_A_TIME {
            self.waiting.pop_last();
        }
    }

    /// Records how long those before `watermark` have waited: they are released.
    pub(super) fn end(&mut self, watermark: EventTime, now: Arrival) {
        while let Some((_, since)) = self.waiting.first().filter(|(time, _)| *time < watermark) {
            self.times.record(now.0.saturating_sub(since.0));
            self.waiting.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_record_waits_until_the_watermark_has_passed_it() {
        let mut waits = Waits::new(&Metrics::default().operator("windows", "keyed", 0));
        waits.begin(EventTime(20), Arrival(1000));
        waits.begin(EventTime(10), Arrival(1500));
        waits.end(EventTime(10), Arrival(2000));
        assert_eq!(waits.times.percentiles().count, 0);
        waits.end(EventTime(11), Arrival(2500));
        waits.end(EventTime::MAX, Arrival(9000));
        let times = waits.times.percentiles();
        assert_eq!((times.count, times.p50, times.max), (2, 1000, 8003), "three digits");
    }

    #[test]
    fn records_that_wait_for_ever_leave_room_for_others() {
        let mut waits = Waits::new(&Metrics::default().operator("windows", "keyed", 0));
        (0..1000).for_each(|n| waits.begin(EventTime(i64::MAX - n), Arrival(0)));
        waits.begin(EventTime(1), Arrival(0));
        waits.end(EventTime(2), Arrival(5));
        assert_eq!((waits.waiting.len(), waits.times.percentiles().count), (AT_A_TIME - 1, 1));
    }
}
