//! The progress of one partition while it is read: its watermark, whether it is idle, and whether it is done; and the
//! choice of the partition that is read next. There is no I/O here.
//!
//! ```text
//! busy ── broker: nothing after what was read, for `idle_after` ──▶ idle     (the watermark does not wait for it)
//!   ◀────────────── a record, or the broker says there is one ────────┘
//! ```
//! Invariant: a partition with records waiting at the broker is busy, however long none has been read from it.

use std::time::Duration;

use tidemill_engine::metrics::PartitionState;
use tidemill_engine::{Arrival, EventTime};

use super::position::Place;
use crate::inbox::SplitProgress;

/// The last report of the broker about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BrokersWord {
    /// The next offset to fetch; everything before it has been fetched.
    pub(super) fetched: i64,
    /// The offset after the last record that can be read.
    pub(super) end: i64,
    /// Whether the leader of the partition is connected. Reports from before the connection was lost may be outdated.
    pub(super) connected: bool,
    /// The time of the report, by the job's clock.
    pub(super) at: Arrival,
}

/// The progress of one partition.
#[derive(Clone, Debug)]
pub(super) struct PartitionProgress {
    next: i64,
    split: SplitProgress,
    /// The offset at which a bounded read ends.
    end: Option<i64>,
    /// Whether the broker reported the end of the partition, and no record was read since.
    at_end: bool,
}

impl PartitionProgress {
    pub(super) fn new(place: Place, max_out_of_orderness: Duration, end: Option<i64>) -> Self {
        let split = SplitProgress::new(EventTime(place.watermark), Arrival(place.quiet_since), max_out_of_orderness);
        Self { next: place.next, split, end, at_end: false }
    }

    pub(super) fn place(&self) -> Place {
        Place { next: self.next, watermark: self.split.watermark().0, quiet_since: self.split.quiet_since().0 }
    }

    /// Records that the message at `offset` was read. A message that could not be decoded has no event time.
    pub(super) fn read(&mut self, offset: i64, event_time: Option<EventTime>, now: Arrival) {
        (self.next, self.at_end) = (offset + 1, false);
        self.split.read(event_time, now);
    }

    /// Records that the broker has nothing after the messages read so far.
    pub(super) fn reached_end(&mut self) {
        self.at_end = true;
        if let Some(end) = self.end {
            self.next = self.next.max(end);
        }
    }

    /// Returns whether `offset` is beyond the end of a bounded read.
    pub(super) fn is_beyond(&self, offset: i64) -> bool {
        self.end.is_some_and(|end| offset >= end)
    }

    /// Records that nothing is left before the end of a bounded read.
    pub(super) fn pass_end(&mut self) {
        if let Some(end) = self.end {
            self.next = self.next.max(end);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Decides whether the partition is idle now.
    pub(super) fn judge(&mut self, now: Arrival, idle_after: Duration, word: Option<BrokersWord>) {
        let since = self.split.quiet_since();
        let nothing_waits = word.is_some_and(|word| word.connected && word.at >= since && word.fetched >= word.end);
        self.split.judge(now, idle_after, self.at_end && nothing_waits);
    }

    /// Returns the watermark that the source has to wait for; `None` if the partition is idle or done.
    pub(super) fn holds(&self) -> Option<EventTime> {
        (!self.split.is_idle() && !self.is_done()).then_some(self.watermark())
    }

    /// Returns what the source does with the partition, when the one that is furthest behind is at `behind`.
    pub(super) fn state(&self, behind: Option<EventTime>, max_drift: Duration) -> PartitionState {
        match self {
            _ if self.is_done() => PartitionState::Done,
            _ if self.split.is_idle() => PartitionState::Idle,
            _ if self.may_be_read(behind, max_drift) => PartitionState::Active,
            _ => PartitionState::Paused,
        }
    }

    /// Returns whether the partition is not too far ahead of the one that is furthest behind.
    fn may_be_read(&self, behind: Option<EventTime>, max_drift: Duration) -> bool {
        behind.is_none_or(|behind| self.watermark() <= behind || self.watermark().since(behind) <= max_drift)
    }

    pub(super) fn watermark(&self) -> EventTime {
        self.split.watermark()
    }

    /// Returns whether the broker may have records of this partition that the others should wait for.
    fn may_have_records(&self) -> bool {
        !self.at_end && !self.is_done()
    }
}

/// Returns the watermark of the partition that the others should wait for, if there is one.
pub(super) fn furthest_behind<'a>(partitions: impl Iterator<Item = &'a PartitionProgress>) -> Option<EventTime> {
    partitions.filter(|p| p.may_have_records()).map(PartitionProgress::watermark).min()
}

/// Determines the order in which partitions are read: the one that is furthest behind comes first. Partitions that are
/// more than `max_drift` ahead of one that may have records are left out.
pub(super) fn reading_order<'a>(
    partitions: impl Iterator<Item = &'a PartitionProgress> + Clone,
    max_drift: Duration,
    order: &mut Vec<usize>,
) {
    let behind = furthest_behind(partitions.clone());
    let may = |p: &PartitionProgress| !p.is_done() && p.may_be_read(behind, max_drift);
    let mut found: Vec<(EventTime, usize)> =
        partitions.enumerate().filter(|(_, p)| may(p)).map(|(index, p)| (p.watermark(), index)).collect();
    found.sort_unstable();
    order.clear();
    order.extend(found.into_iter().map(|(_, index)| index));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;
    const IDLE_AFTER: Duration = Duration::from_secs(5);

    fn at(next: i64) -> PartitionProgress {
        PartitionProgress::new(Place { next, watermark: i64::MIN, quiet_since: 0 }, Duration::ZERO, None)
    }

    fn word(fetched: i64, end: i64, second: u64) -> Option<BrokersWord> {
        Some(BrokersWord { fetched, end, connected: true, at: Arrival(second * SECOND) })
    }

    #[test]
    fn a_partition_with_records_waiting_is_busy_however_long_it_is_silent() {
        let mut partition = at(7);
        partition.judge(Arrival(1000 * SECOND), IDLE_AFTER, word(7, 8, 999));
        assert_eq!(partition.holds(), Some(EventTime::MIN), "the end was never reached");
        partition.reached_end();
        partition.judge(Arrival(1000 * SECOND), IDLE_AFTER, word(7, 8, 999));
        assert!(partition.holds().is_some(), "the broker has one more");
        partition.judge(Arrival(1000 * SECOND), IDLE_AFTER, None);
        assert!(partition.holds().is_some(), "the broker has said nothing");
        let lost = word(7, 7, 999).map(|word| BrokersWord { connected: false, ..word });
        partition.judge(Arrival(1000 * SECOND), IDLE_AFTER, lost);
        assert!(partition.holds().is_some(), "its leader is lost");
        partition.judge(Arrival(1000 * SECOND), IDLE_AFTER, word(7, 7, 999));
        assert_eq!(partition.holds(), None, "idle");
    }

    #[test]
    fn idleness_takes_its_time_and_ends_with_a_record() {
        let mut partition = at(0);
        partition.read(0, Some(EventTime(70)), Arrival(10 * SECOND));
        partition.reached_end();
        partition.judge(Arrival(14 * SECOND), IDLE_AFTER, word(1, 1, 13));
        assert_eq!(partition.holds(), Some(EventTime(70)), "not long enough");
        partition.judge(Arrival(15 * SECOND), IDLE_AFTER, word(1, 1, 9));
        assert!(partition.holds().is_some(), "said before the last record came");
        partition.judge(Arrival(15 * SECOND), IDLE_AFTER, word(1, 1, 15));
        assert_eq!(partition.holds(), None);
        partition.read(1, Some(EventTime(60)), Arrival(16 * SECOND));
        assert_eq!(partition.holds(), Some(EventTime(70)), "busy again, and no step back");
    }

    #[test]
    fn a_partition_that_is_too_far_ahead_is_paused_and_one_that_is_idle_is_not_waited_for() {
        let (mut slow, mut fast) = (at(0), at(0));
        slow.read(0, Some(EventTime(70)), Arrival(0));
        fast.read(0, Some(EventTime(171)), Arrival(0));
        let states = |slow: &PartitionProgress, fast: &PartitionProgress| {
            let behind = furthest_behind([slow, fast].into_iter());
            [slow, fast].map(|partition| partition.state(behind, Duration::from_millis(100)))
        };
        assert_eq!(states(&slow, &fast), [PartitionState::Active, PartitionState::Paused]);
        slow.reached_end();
        slow.judge(Arrival(60 * SECOND), IDLE_AFTER, word(1, 1, 59));
        assert_eq!(states(&slow, &fast), [PartitionState::Idle, PartitionState::Active]);
        let done = PartitionProgress::new(Place { next: 3, watermark: 0, quiet_since: 0 }, Duration::ZERO, Some(3));
        assert_eq!(states(&done, &fast), [PartitionState::Done, PartitionState::Active]);
    }

    #[test]
    fn transaction_markers_at_the_end_are_not_awaited() {
        // The last record is at offset 9 and a commit marker at 10: the consumer continues at 11 without returning 10.
        let mut partition = at(10);
        partition.reached_end();
        partition.judge(Arrival(60 * SECOND), IDLE_AFTER, word(11, 11, 59));
        assert_eq!(partition.holds(), None);
    }

    #[test]
    fn a_bounded_read_ends_even_if_its_last_offsets_have_no_record() {
        let bounded =
            |next| PartitionProgress::new(Place { next, watermark: 0, quiet_since: 0 }, Duration::ZERO, Some(10));
        assert!(bounded(10).is_done());
        let mut partition = bounded(8);
        partition.read(8, None, Arrival(0));
        assert!(!partition.is_done() && partition.is_beyond(10) && !partition.is_beyond(9));
        partition.reached_end();
        assert!(partition.is_done());
        assert_eq!(partition.place().next, 10);
    }

    #[test]
    fn the_one_behind_comes_first_and_others_wait_for_it_only_while_it_may_have_records() {
        let with =
            |watermark| PartitionProgress::new(Place { next: 0, watermark, quiet_since: 0 }, Duration::ZERO, None);
        let mut all = [with(600_000), with(0), with(30_000)];
        let mut order = Vec::new();
        reading_order(all.iter(), Duration::from_secs(60), &mut order);
        assert_eq!(order, [1, 2], "ten minutes ahead is left alone");
        all[1].reached_end();
        all[2].reached_end();
        reading_order(all.iter(), Duration::from_secs(60), &mut order);
        assert_eq!(order, [1, 2, 0], "nobody has anything to catch up");
    }

    proptest! {
        /// However far partitions are apart, one that may have records is always read, so reading never gets stuck.
        #[test]
        fn a_partition_that_may_have_records_is_always_read(
            partitions in prop::collection::vec((any::<i64>(), any::<bool>()), 1..10), drift in 0..i64::MAX as u64,
        ) {
            let partitions: Vec<PartitionProgress> = partitions.into_iter().map(|(watermark, ended)| {
                let mut partition = PartitionProgress::new(Place { next: 0, watermark, quiet_since: 0 }, Duration::ZERO, None);
                if ended { partition.reached_end(); }
                partition
            }).collect();
            let mut order = Vec::new();
            reading_order(partitions.iter(), Duration::from_millis(drift), &mut order);
            let waiting = (0..partitions.len()).filter(|i| partitions[*i].may_have_records());
            match waiting.min_by_key(|i| partitions[*i].watermark()) {
                Some(behind) => prop_assert!(order.contains(&behind)),
                None => prop_assert_eq!(order.len(), partitions.len()),
            }
        }
    }
}
