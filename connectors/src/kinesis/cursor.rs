//! Where a shard is read on, and whether records may have expired before they were read. There is no I/O here.
//!
//! A service that is asked for what comes after a record that has expired may give nothing for a long time, or begin at the
//! oldest record that is left, and says neither. So the source keeps until when everything was read, and compares that with how
//! long the stream keeps records.

use std::time::Duration;

use super::api::From;
use super::message::Received;
use super::position::{Origin, Read};

/// How exact the times at which records arrived are taken to be.
const MARGIN: i64 = 60_000;

/// The place up to which a shard was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) read: Read,
    /// As in a [`Place`](super::position::Place).
    pub(super) read_until: Option<i64>,
}

impl Cursor {
    /// Returns whether records may have expired unread, by the time of the service. If nothing was ever read, none was missed.
    pub(super) fn may_have_missed(&self, now: i64, retention: Duration) -> bool {
        self.read_until.is_some_and(|until| until < oldest(now, retention))
    }

    /// Accepts that records have expired: reading goes on at the oldest that is there.
    pub(super) fn accept(&mut self, now: i64, retention: Duration) {
        self.read_until = self.read_until.max(Some(oldest(now, retention)));
    }

    /// Returns where an iterator is to begin.
    pub(super) fn from(&self, origin: Origin, now: i64, retention: Duration) -> From<'_> {
        match (&self.read, origin) {
            (Read::After { arrived, .. }, _) if *arrived < oldest(now, retention) => {
                // That record has expired, so what was read until then is asked for by its time. Records that come twice are
                // left out by their sequence numbers.
                From::Timestamp(self.read_until.map_or(0, |until| until.min(now) - MARGIN).max(0))
            }
            (Read::After { sequence, .. }, _) => From::After(sequence),
            (_, Origin::TrimHorizon) => From::TrimHorizon,
            (_, Origin::Timestamp(at)) => From::Timestamp(at.clamp(0, now.max(0))),
        }
    }

    /// Takes an answer, which was given at `now`. Returns the records that are new.
    pub(super) fn take(&mut self, mut records: Vec<Received>, behind: Duration, now: i64) -> Vec<Received> {
        if let Read::After { sequence, .. } = &self.read {
            records.retain(|record| is_after(&record.sequence, sequence));
        }
        match records.last() {
            Some(last) => {
                self.read_until = self.read_until.max(Some(last.arrived));
                self.read = Read::After { sequence: last.sequence.clone(), arrived: last.arrived };
            }
            None => {
                let behind = i64::try_from(behind.as_millis()).unwrap_or(i64::MAX);
                self.read_until = self.read_until.max(Some(now.saturating_sub(behind)));
            }
        }
        records
    }
}

/// Returns when the oldest records arrived that a stream still has.
pub(super) fn oldest(now: i64, retention: Duration) -> i64 {
    now.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX))
}

/// Returns whether a sequence number is greater than another one of its shard. They have more digits than any integer.
fn is_after(sequence: &str, other: &str) -> bool {
    let key = |text: &'_ str| text.trim_start_matches('0').len();
    (key(sequence), sequence.trim_start_matches('0')) > (key(other), other.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const DAY_MS: i64 = 24 * 3_600_000;

    fn received(sequence: &str, arrived: i64) -> Received {
        Received { sequence: sequence.to_owned(), partition_key: "k".to_owned(), data: Vec::new(), arrived }
    }

    fn at(sequence: &str, arrived: i64, read_until: i64) -> Cursor {
        Cursor { read: Read::After { sequence: sequence.to_owned(), arrived }, read_until: Some(read_until) }
    }

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        for (less, more) in
            [("9", "10"), ("010", "11"), ("49680726625247233480322039867900", "49680726625247233480322039867901")]
        {
            assert!(is_after(more, less) && !is_after(less, more) && !is_after(more, more), "{less} {more}");
        }
    }

    #[test]
    fn what_comes_again_is_left_out() {
        let mut cursor = at("9", 5, 5);
        let new = cursor.take(vec![received("8", 1), received("9", 5), received("10", 7)], Duration::ZERO, 1000);
        assert_eq!(new, [received("10", 7)]);
        assert_eq!(cursor, at("10", 7, 7));
        // There is no more: everything until now was read.
        assert!(cursor.take(Vec::new(), Duration::ZERO, 1000).is_empty());
        assert_eq!(cursor, at("10", 7, 1000));
        // An answer that is empty and behind is a gap in the shard.
        cursor.take(Vec::new(), Duration::from_millis(300), 2000);
        assert_eq!(cursor.read_until, Some(1700));
    }

    #[test]
    fn a_loss_is_one_only_if_something_may_have_arrived_unread() {
        let now = 10 * DAY_MS;
        // A shard that was quiet for days and watched until an hour ago has lost nothing.
        let quiet = at("9", DAY_MS, now - 3_600_000);
        assert!(!quiet.may_have_missed(now, DAY));
        assert_eq!(quiet.from(Origin::TrimHorizon, now, DAY), From::Timestamp(now - 3_600_000 - MARGIN));
        let mut late = at("9", 8 * DAY_MS, 8 * DAY_MS);
        assert!(late.may_have_missed(now, DAY));
        late.accept(now, DAY);
        assert!(!late.may_have_missed(now, DAY));
        assert_eq!(late.from(Origin::TrimHorizon, now, DAY), From::Timestamp(9 * DAY_MS - MARGIN));
        let never = Cursor { read: Read::Begin, read_until: None };
        assert!(!never.may_have_missed(now, DAY));
    }

    #[test]
    fn reading_begins_at_the_origin_and_goes_on_after_the_last_record() {
        let begin = Cursor { read: Read::Begin, read_until: None };
        assert_eq!(begin.from(Origin::TrimHorizon, 100, DAY), From::TrimHorizon);
        assert_eq!(begin.from(Origin::Timestamp(40), 100, DAY), From::Timestamp(40));
        assert_eq!(begin.from(Origin::Timestamp(400), 100, DAY), From::Timestamp(100), "the future is refused");
        assert_eq!(at("9", 50, 60).from(Origin::TrimHorizon, 100, DAY), From::After("9"));
    }
}
