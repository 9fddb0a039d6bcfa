//! Epoch alignment: which input belongs to the current epoch, and when that epoch may close.
//!
//! ```text
//! batches of the current epoch ─────────────▶ applied at once
//! batches of later epochs ──▶ stash ──────────▶ applied when their epoch begins
//! frontier of the input ──▶ meet ──▶ Watermark(w) │ Close(epoch) │ Wait │ Finished
//! ```
//! Invariant: the watermark never passes a stashed batch. A stashed batch of epoch e+1 was sent
//! before the frontier advanced, so its records may be older than the frontier's watermark.

use std::collections::BTreeMap;

use super::finish::Finish;
use crate::packet::Packet;
use crate::time::{Epoch, EventTime, Moment};

/// The next action of an aligned operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The watermark has advanced to here: release the records and fire the timers that it has passed.
    Watermark(EventTime),
    /// All input of this epoch has been applied: seal it, then call [`Aligner::begin_next`].
    Close(Epoch),
    /// There is nothing to do until input comes or the frontier changes.
    Wait,
    /// The last epoch has been closed: drop the capabilities.
    Finished,
}

/// The stash and the current moment of one aligned operator.
pub(crate) struct Aligner {
    current: Moment,
    stash: BTreeMap<Epoch, Stashed>,
}

struct Stashed {
    /// The least watermark at which any of the batches was sent.
    watermark: EventTime,
    packets: Vec<Packet>,
}

impl Aligner {
    /// Starts in `epoch`, with the watermark that a restored checkpoint had reached.
    pub(crate) fn new(epoch: Epoch, watermark: EventTime) -> Self {
        Self { current: Moment::new(epoch, watermark), stash: BTreeMap::new() }
    }

    /// Returns the current epoch and the watermark that was reached in it.
    pub(crate) fn current(&self) -> Moment {
        self.current
    }

    /// Returns `packet` if it belongs to the current epoch; otherwise stashes it for later.
    pub(crate) fn admit(&mut self, moment: Moment, packet: Packet) -> Option<Packet> {
        debug_assert!(moment.epoch >= self.current.epoch, "{moment:?} came after its epoch closed");
        if moment.epoch <= self.current.epoch {
            return Some(packet);
        }
        let stashed =
            self.stash.entry(moment.epoch).or_insert(Stashed { watermark: EventTime::MAX, packets: Vec::new() });
        stashed.watermark = stashed.watermark.min(moment.watermark);
        stashed.packets.push(packet);
        None
    }

    /// Returns what to do next, given the meet of the input frontier (`None` if it is empty) and how the job ends.
    pub(crate) fn step(&mut self, meet: Option<Moment>, finish: Option<Finish>) -> Step {
        let last = finish.map(|f| f.last);
        if last.is_some_and(|last| self.current.epoch > last) {
            return Step::Finished;
        }
        let (epoch, watermark) = match (meet, finish) {
            (Some(meet), _) => (meet.epoch, meet.watermark),
            // Event time ends only in the last epoch: an earlier one may be restored, and then the
            // records of the later ones come again.
            (None, Some(f)) if f.drain && self.current.epoch == f.last => (f.last.next(), EventTime::MAX),
            (None, Some(f)) => (f.last.next(), self.current.watermark),
            // The sources drop their capabilities only once the finish is known; this worker will learn of it too.
            (None, None) => return Step::Wait,
        };
        let watermark = self.stash.values().map(|s| s.watermark).fold(watermark, EventTime::min);
        if watermark > self.current.watermark {
            self.current.watermark = watermark;
            return Step::Watermark(watermark);
        }
        if epoch > self.current.epoch { Step::Close(self.current.epoch) } else { Step::Wait }
    }

    /// Begins the epoch after the closed one, and returns the packets that were stashed for it.
    pub(crate) fn begin_next(&mut self) -> Vec<Packet> {
        self.current.epoch = self.current.epoch.next();
        self.stash.remove(&self.current.epoch).map_or_else(Vec::new, |s| s.packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arrival, Record};

    fn moment(epoch: u64, watermark: i64) -> Moment {
        Moment::new(Epoch(epoch), EventTime(watermark))
    }

    /// A packet with one record.
    fn packet(of: &str) -> Packet {
        Packet::of(vec![Record { event_time: EventTime(0), arrival: Arrival(0), data: of.to_owned() }])
    }

    fn opened(packets: impl IntoIterator<Item = Packet>) -> Vec<String> {
        let records = packets.into_iter().flat_map(|packet| packet.open::<String>("align").unwrap());
        records.map(|record| record.data).collect()
    }

    fn aligner() -> Aligner {
        Aligner::new(Epoch(1), EventTime::MIN)
    }

    #[test]
    fn later_epochs_wait_for_their_turn() {
        let mut a = aligner();
        assert_eq!(opened(a.admit(moment(1, 10), packet("now"))), ["now"]);
        assert!(a.admit(moment(2, 10), packet("later")).is_none());
        assert_eq!(a.step(Some(moment(1, 10)), None), Step::Watermark(EventTime(10)));
        assert_eq!(a.step(Some(moment(1, 10)), None), Step::Wait);
        assert_eq!(a.step(Some(moment(2, 10)), None), Step::Close(Epoch(1)));
        assert_eq!(opened(a.begin_next()), ["later"]);
        assert_eq!(a.step(Some(moment(2, 10)), None), Step::Wait);
    }

    #[test]
    fn the_watermark_does_not_pass_a_stashed_batch() {
        let mut a = aligner();
        assert!(a.admit(moment(2, 50), packet("records from 50 on")).is_none());
        assert_eq!(a.step(Some(moment(1, 90)), None), Step::Watermark(EventTime(50)));
        assert_eq!(a.step(Some(moment(2, 90)), None), Step::Close(Epoch(1)));
        a.begin_next();
        assert_eq!(a.step(Some(moment(2, 90)), None), Step::Watermark(EventTime(90)));
    }

    #[test]
    fn event_time_runs_out_in_the_last_epoch_only() {
        let finish = Some(Finish { last: Epoch(2), drain: true });
        let mut a = aligner();
        assert_eq!(a.step(None, finish), Step::Close(Epoch(1)));
        a.begin_next();
        assert_eq!(a.step(None, finish), Step::Watermark(EventTime::MAX));
        assert_eq!(a.step(None, finish), Step::Close(Epoch(2)));
        a.begin_next();
        assert_eq!(a.step(None, finish), Step::Finished);
    }

    #[test]
    fn a_stop_leaves_the_watermark_alone() {
        let finish = Some(Finish { last: Epoch(1), drain: false });
        let mut a = aligner();
        assert_eq!(a.step(None, finish), Step::Close(Epoch(1)));
        a.begin_next();
        assert_eq!(a.step(None, finish), Step::Finished);
        assert_eq!(a.current().watermark, EventTime::MIN);
    }
}
