//! Samples of the records that pass, for whoever looks at a stream.
//!
//! A tap is closed unless somebody looks: then it costs one relaxed load per batch. An open one takes a few records of
//! a batch and so many in a second, as text that is cut at a limit; how many it passed over is counted. Dead letters
//! are rare and wanted afterwards, so their tap is always open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::attention::Attention;
use crate::clock::Clock;
use crate::cut::cut;
use crate::locks::lock;
use crate::packet::Packet;
use crate::record::DeadLetter;
use crate::time::{EventTime, ProcessingTime};

/// Number of records that a tap keeps.
const KEPT: usize = 200;
/// Longest text of a record, in bytes.
const LONGEST: usize = 1024;
/// Most records that are taken of one batch, and in one second.
const OF_A_BATCH: usize = 4;
const IN_A_SECOND: u32 = 50;

/// The taps of a process: one per operator, for what it emits (of a sink, what it writes), and one for dead letters.
#[derive(Debug)]
pub(crate) struct Taps {
    streams: Mutex<BTreeMap<String, Arc<Tap>>>,
    pub(crate) dead_letters: Arc<Tap>,
}

/// A place where records can be sampled. The workers share it.
#[derive(Debug)]
pub(crate) struct Tap {
    /// It is open while somebody looks.
    open: Attention,
    /// Number of records that may still be taken in this second.
    room: AtomicU32,
    /// Number of records that passed while it was open and were not taken.
    passed_over: AtomicU64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    records: VecDeque<Sample>,
    /// Number of records that were ever taken.
    count: u64,
}

/// A record that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) time: ProcessingTime,
    pub(crate) event_time: Option<EventTime>,
    /// Its `Debug` form, or the content of a dead letter.
    pub(crate) text: String,
    /// Of a dead letter: who could not use it, where it came from, and why.
    pub(crate) letter: Option<Letter>,
}

/// What a dead letter has besides its content.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) operator: String,
    pub(crate) origin: String,
    pub(crate) reason: String,
}

impl Default for Taps {
    fn default() -> Self {
        Self { streams: Mutex::default(), dead_letters: Arc::new(Tap::new(Attention::always())) }
    }
}

impl Taps {
    /// Returns the tap of an operator.
    pub(crate) fn of(&self, operator: &str) -> Arc<Tap> {
        let mut streams = lock(&self.streams);
        Arc::clone(streams.entry(operator.to_owned()).or_insert_with(|| Arc::new(Tap::new(Attention::default()))))
    }
}

#[cfg(any(test, feature = "http"))]
impl Taps {
    /// Returns the tap of an operator, if there is such an operator.
    pub(crate) fn find(&self, operator: &str) -> Option<Arc<Tap>> {
        lock(&self.streams).get(operator).cloned()
    }

    /// Lets each tap take records for another second, and closes those that nobody looks at any more.
    pub(crate) fn next_second(&self) {
        self.dead_letters.room.store(IN_A_SECOND, Ordering::Relaxed);
        lock(&self.streams).values().for_each(|tap| tap.next_second());
    }
}

impl Tap {
    fn new(open: Attention) -> Self {
        Self { open, room: AtomicU32::new(IN_A_SECOND), passed_over: AtomicU64::new(0), taken: Mutex::default() }
    }

    /// Offers the records of a batch.
    #[inline]
    pub(crate) fn offer(&self, packet: &Packet) {
        if self.open.is_there() {
            self.take(packet);
        }
    }

    #[cold]
    fn take(&self, packet: &Packet) {
        let len = packet.len();
        let wanted = len.min(OF_A_BATCH).min(self.room.load(Ordering::Relaxed) as usize);
        let mut taken = 0;
        for at in 0..wanted {
            // Spread over the batch.
            let Some((event_time, record)) = packet.look(at * len / wanted) else { break };
            let text = cut(format_args!("{record:?}"), LONGEST);
            self.keep(Sample {
                time: Clock::system().processing_time(),
                event_time: Some(event_time),
                text,
                letter: None,
            });
            taken += 1;
        }
        self.passed_over.fetch_add((len - taken) as u64, Ordering::Relaxed);
    }

    /// Offers a dead letter.
    pub(crate) fn offer_letter(&self, letter: &DeadLetter) {
        if self.room.load(Ordering::Relaxed) == 0 {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let DeadLetter { operator, origin, reason, content } = letter;
        let short = |text: &String| cut(format_args!("{text}"), LONGEST);
        let (time, text) = (Clock::system().processing_time(), short(content));
        let letter = Letter { operator: short(operator), origin: short(origin), reason: short(reason) };
        self.keep(Sample { time, event_time: None, text, letter: Some(letter) });
    }

    fn keep(&self, sample: Sample) {
        // Workers may take a few more than there is room for: it is a limit on the work, not a count.
        _ = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        let mut taken = lock(&self.taken);
        if taken.records.len() >= KEPT {
            taken.records.pop_front();
        }
        taken.records.push_back(sample);
        taken.count += 1;
    }
}

#[cfg(any(test, feature = "http"))]
impl Tap {
    /// Opens the tap for the next seconds.
    pub(crate) fn listen(&self) {
        self.open.pay();
    }

    fn next_second(&self) {
        self.room.store(IN_A_SECOND, Ordering::Relaxed);
        self.open.next_second();
    }

    /// Returns the records that were taken after the first `seen`, as far as they are kept, and how many there were.
    pub(crate) fn since(&self, seen: u64) -> (Vec<Sample>, u64) {
        let taken = lock(&self.taken);
        let kept = taken.records.len();
        let news = usize::try_from(taken.count.saturating_sub(seen)).unwrap_or(usize::MAX).min(kept);
        (taken.records.iter().skip(kept - news).cloned().collect(), taken.count)
    }

    /// Returns how many records passed while the tap was open and were not taken.
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::SECONDS;
    use crate::record::{Arrival, Record};

    fn batch(len: usize) -> Packet {
        let record = |at: usize| Record { event_time: EventTime(at as i64), arrival: Arrival(0), data: at };
        Packet::of((0..len).map(record).collect())
    }

    fn texts(tap: &Tap, seen: u64) -> Vec<String> {
        tap.since(seen).0.into_iter().map(|sample| sample.text).collect()
    }

    #[test]
    fn a_closed_tap_takes_nothing_and_an_open_one_a_few_of_each_batch() {
        let taps = Taps::default();
        let tap = taps.of("score");
        tap.offer(&batch(8));
        assert_eq!(tap.since(0).1, 0);
        tap.listen();
        tap.offer(&batch(8));
        assert_eq!((texts(&tap, 0), tap.passed_over()), (vec!["0".into(), "2".into(), "4".into(), "6".into()], 4));
        assert_eq!(tap.since(0).0[1].event_time, Some(EventTime(2)));
        assert!(Arc::ptr_eq(&tap, &taps.find("score").unwrap()) && taps.find("scores").is_none());
    }

    #[test]
    fn a_second_has_a_limit_and_the_next_one_has_room_again() {
        let taps = Taps::default();
        let tap = taps.of("score");
        tap.listen();
        (0..1000).for_each(|_| tap.offer(&batch(2)));
        let first = tap.since(0).1;
        assert_eq!((first, first + tap.passed_over()), (u64::from(IN_A_SECOND), 2000));
        taps.next_second();
        tap.offer(&batch(1));
        assert_eq!(texts(&tap, first), ["0"]);
    }

    #[test]
    fn a_tap_closes_when_nobody_looks_any_more() {
        let taps = Taps::default();
        let tap = taps.of("score");
        tap.listen();
        (0..SECONDS).for_each(|_| taps.next_second());
        tap.offer(&batch(1));
        taps.next_second();
        tap.offer(&batch(1));
        assert_eq!(tap.since(0).1, 1);
    }

    #[test]
    fn dead_letters_are_kept_with_their_reasons_up_to_a_limit() {
        let taps = Taps::default();
        let letter = |n: usize| {
            DeadLetter::new("numbers", format!("file:{n}"), "no number".to_owned(), "ä".repeat(4000).as_bytes())
        };
        for n in 0..KEPT * 2 {
            taps.dead_letters.offer_letter(&letter(n));
            taps.next_second();
        }
        let (kept, count) = taps.dead_letters.since(0);
        assert_eq!((kept.len(), count), (KEPT, 2 * KEPT as u64));
        let last = kept.last().unwrap();
        assert_eq!(last.letter.as_ref().map(|letter| &*letter.origin), Some("file:399"));
        assert_eq!(last.text.len(), LONGEST + "…".len());
        (0..1000).for_each(|n| taps.dead_letters.offer_letter(&letter(n)));
        assert_eq!(taps.dead_letters.since(count).1 - count, u64::from(IN_A_SECOND), "a flood is not formatted");
    }
}
