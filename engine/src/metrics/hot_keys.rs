//! The keys with most records of a keyed operator on one worker, counted while somebody looks.
//!
//! ```text
//! records ─▶ one in about so many ─▶ its key as text ─▶ sketch of this half minute   ─┐
//!            (all of a few; a thousand a second)        sketch of the one before it  ─┴▶ keys with 1 % or more
//! ```
//! The sketches are Misra and Gries' in the form of DataSketches' frequent items: of at most [`COUNTERS`] keys they
//! know how often they came, up to an error that they know, too. Which records are counted is drawn by the number of
//! the draw, so that a stream with a rhythm is not counted in its rhythm.

use std::sync::{Mutex, MutexGuard};

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use tidemill_state::{Key, hash_key};

use crate::attention::Attention;
use crate::cut::cut;
use crate::locks::lock;

/// Size of a sketch's table, of which three quarters are used.
const COUNTERS: usize = 512;
/// Number of records that are counted in a second, about; with fewer all of them are.
const IN_A_SECOND: u64 = 1000;
/// Seconds after which a sketch is the one before, and the one before is forgotten.
const PERIOD: u32 = 30;
/// Longest text of a key, in bytes.
const LONGEST: usize = 128;
/// Share of the records from which on a key is worth naming.
const WORTH_NAMING: f64 = 0.01;
/// Number of keys that are shown.
pub(crate) const SHOWN: usize = 10;

/// The keys with most records of one operator on one worker.
#[derive(Debug, Default)]
pub(crate) struct HotKeys {
    attention: Attention,
    counted: Mutex<Option<Counted>>,
}

/// What was counted since somebody began to look.
#[derive(Debug)]
struct Counted {
    current: FrequentItemsSketch<String>,
    before: FrequentItemsSketch<String>,
    /// Seconds of the current sketch.
    seconds: u32,
    /// A record is counted for so many.
    every: u64,
    /// Number of records that are still passed over.
    skip: u64,
    draws: u64,
    /// Number of records of this second, and of those that were counted since `every` was set.
    records: u64,
    samples: u64,
}

/// The records that came in while somebody looked, and the keys that have most of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hottest {
    /// Estimated number of records.
    pub(crate) records: u64,
    /// Keys with one in a hundred records or more, and their estimated numbers of records.
    pub(crate) keys: Vec<(String, u64)>,
}

/// The keys with most records of an operator, over the workers of the process.
pub(crate) struct HotKeysOf {
    pub(crate) operator: String,
    /// Estimated number of records.
    pub(crate) records: u64,
    /// The keys, their estimated numbers of records, and their workers, the most first.
    pub(crate) keys: Vec<(String, u64, usize)>,
}

impl HotKeysOf {
    /// Returns the keys of all workers of an operator; a key has one worker.
    pub(super) fn of(operator: &str, workers: Vec<(usize, Hottest)>) -> Self {
        let records = workers.iter().map(|(_, hottest)| hottest.records).sum();
        let of_worker =
            |(worker, hottest): (usize, Hottest)| hottest.keys.into_iter().map(move |(key, n)| (key, n, worker));
        let mut keys: Vec<_> = workers.into_iter().flat_map(of_worker).collect();
        keys.retain(|(_, count, _)| is_worth_naming(*count, records));
        keys.sort_by(|(a, more, _), (b, less, _)| less.cmp(more).then_with(|| a.cmp(b)));
        keys.truncate(SHOWN);
        Self { operator: operator.to_owned(), records, keys }
    }
}

pub(crate) fn is_worth_naming(count: u64, of: u64) -> bool {
    count as f64 >= WORTH_NAMING * of as f64
}

#[expect(clippy::expect_used, reason = "the size is a constant that the sketch takes")]
fn sketch() -> FrequentItemsSketch<String> {
    FrequentItemsSketch::new(COUNTERS).expect("the size is a power of two")
}

impl HotKeys {
    /// Offers the keys of `len` records that came in; `key_of` returns one of them.
    #[inline]
    pub(crate) fn offer<K: Key>(&self, len: usize, key_of: impl Fn(usize) -> Option<K>) {
        if self.attention.is_there() {
            self.count(len, key_of);
        }
    }

    #[cold]
    fn count<K: Key>(&self, len: usize, key_of: impl Fn(usize) -> Option<K>) {
        let mut counted = self.lock();
        let counted = counted.get_or_insert_with(Counted::begin);
        counted.records += len as u64;
        let mut at = counted.skip;
        while let Some(key) = usize::try_from(at).ok().filter(|at| *at < len).and_then(&key_of) {
            let mut text = cut(format_args!("{key:?}"), LONGEST);
            if text.len() > LONGEST {
                // Keys that begin alike are still told apart.
                text.push_str(&format!("{:08x}", hash_key(&key) as u32));
            }
            counted.add(&text);
            at += 1 + counted.draw();
        }
        counted.skip = at.saturating_sub(len as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Counted>> {
        lock(&self.counted)
    }

    /// Counts records for the next seconds.
    pub(crate) fn listen(&self) {
        self.attention.pay();
    }

    /// Goes on to the next second.
    pub(crate) fn next_second(&self) {
        let goes_on = self.attention.next_second();
        let mut counted = self.lock();
        match &mut *counted {
            Some(counted) if goes_on => counted.next_second(),
            _ => *counted = None,
        }
    }

    /// Returns the keys with most records in the last half minute to minute.
    pub(crate) fn hottest(&self) -> Hottest {
        self.lock().as_ref().map(Counted::hottest).unwrap_or_default()
    }
}

impl Counted {
    fn begin() -> Self {
        let (current, before) = (sketch(), sketch());
        Self { current, before, seconds: 0, every: 1, skip: 0, draws: 0, records: 0, samples: 0 }
    }

    fn add(&mut self, key: &str) {
        self.current.update_with_count_ref(key, self.every);
        self.samples += 1;
        if self.samples >= IN_A_SECOND {
            self.every *= 2;
            self.samples = 0;
        }
    }

    /// Draws how many records are passed over before the next: `every - 1` in the mean.
    fn draw(&mut self) -> u64 {
        self.draws += 1;
        hash_key(&self.draws) % (2 * self.every - 1)
    }

    fn next_second(&mut self) {
        self.every = (self.records / IN_A_SECOND).max(1);
        (self.records, self.samples) = (0, 0);
        self.seconds += 1;
        if self.seconds >= PERIOD {
            self.before = std::mem::replace(&mut self.current, sketch());
            self.seconds = 0;
        }
    }

    fn hottest(&self) -> Hottest {
        let mut all = self.before.clone();
        all.merge(&self.current);
        let records = all.total_weight();
        let rows = all.frequent_items(ErrorType::NoFalsePositives).into_iter();
        let keys = rows.map(|row| (row.item().clone(), row.lower_bound()));
        Hottest { records, keys: keys.filter(|(_, count)| is_worth_naming(*count, records)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::SECONDS;

    fn hottest(keys: &HotKeys) -> HotKeysOf {
        HotKeysOf::of("count", vec![(0, keys.hottest())])
    }

    /// Offers batches of the keys of `of` for so many seconds.
    fn offer(keys: &HotKeys, seconds: u32, records: u64, of: impl Fn(u64) -> u64) {
        for _ in 0..seconds {
            keys.listen();
            for batch in 0..records / 100 {
                keys.offer(100, |at| (at < 100).then(|| of(batch * 100 + at as u64)));
            }
            keys.next_second();
        }
    }

    #[test]
    fn a_few_records_are_all_counted() {
        let keys = HotKeys::default();
        offer(&keys, 1, 900, |n| if n % 3 == 0 { 7 } else { n % 30 });
        let HotKeysOf { records, keys, .. } = hottest(&keys);
        assert_eq!((records, keys[0].clone()), (900, ("7".to_owned(), 330, 0)));
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn a_hot_key_is_found_among_many_and_its_share_is_about_right() {
        let keys = HotKeys::default();
        // Its records come in a rhythm.
        offer(&keys, 20, 100_000, |n| if n % 10 == 0 { 7 } else { 1000 + hash_key(&n) % 1_000_000 });
        let HotKeysOf { records, keys, .. } = hottest(&keys);
        let [(key, count, 0)] = &keys[..] else { panic!("{keys:?}") };
        let share = *count as f64 / records as f64;
        assert!(key == "7" && (0.08..0.12).contains(&share), "{count} of {records}");
        assert!((1_500_000..2_500_000).contains(&records), "{records}");
    }

    #[test]
    fn no_key_of_a_uniform_stream_of_many_is_worth_naming() {
        let keys = HotKeys::default();
        offer(&keys, 5, 100_000, |n| hash_key(&n) % 100_000);
        assert_eq!(keys.hottest().keys, []);
    }

    #[test]
    fn what_was_hot_is_forgotten_after_a_minute_and_everything_when_nobody_looks() {
        let keys = HotKeys::default();
        offer(&keys, 2 * PERIOD, 100, |_| 1);
        offer(&keys, 2 * PERIOD, 100, |_| 2);
        assert_eq!(keys.hottest().keys[0].0, "2");
        assert_eq!(keys.hottest().keys.len(), 1);
        (0..=SECONDS).for_each(|_| keys.next_second());
        assert_eq!(keys.hottest(), Hottest::default());
        keys.offer(1, |_| Some(1_u64));
        assert_eq!(keys.hottest(), Hottest::default(), "nobody looks");
    }

    #[test]
    fn long_keys_are_cut_and_told_apart() {
        let keys = HotKeys::default();
        keys.listen();
        let long = |end: usize| format!("{}{end}", "ä".repeat(1000));
        keys.offer(2, |at| (at < 2).then(|| long(at)));
        let keys = keys.hottest().keys;
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert!(keys.iter().all(|(key, _)| key.len() < LONGEST + 16 && key.starts_with("\"ääää")), "{keys:?}");
    }

    #[test]
    fn few_are_counted_of_many_also_in_the_first_second() {
        let keys = HotKeys::default();
        keys.listen();
        let asked = std::cell::Cell::new(0);
        for _ in 0..1000 {
            keys.offer(1000, |at| {
                asked.set(asked.get() + usize::from(at < 1000));
                Some(at)
            });
        }
        assert!(asked.get() < 12 * IN_A_SECOND as usize, "{}", asked.get());
        let records = keys.hottest().records;
        assert!((900_000..1_100_000).contains(&records), "{records}");
    }
}
