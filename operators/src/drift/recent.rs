//! The values of a feature that were added since it was last asked: counted, and sorted only then.
//!
//! ```text
//! add ─▶ waiting ─ 4096 ─▶ ByValue: a hash table of values ─ more than `exact_values` ─▶ ByBucket: pages of counters
//! ```
//! Features take turns with each batch, and between two turns of one the others push its counters out of the processor's
//! caches: values wait so that they are brought in again for thousands at a time.

use super::distinct::Hashes;
use super::folded::Folded;
use super::hash::STEP;
use super::moments::{MOST_TIMES, Mantissas, Moments, head, is_usual};
use super::settled::{Settled, runs};
use crate::buckets::bucket;

/// Least number of values that are counted at a time.
const WAITING: usize = 4096;
/// Number of values that are looked up together.
const BLOCK: usize = 32;
/// Number of slots that the nearest cache of a processor has room for.
const CACHED_SLOTS: usize = 2048;

/// Values that are not sorted yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    waiting: Vec<f64>,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
enum Counts {
    #[default]
    Nothing,
    ByValue(ByValue),
    ByBucket(Box<ByBucket>),
}

impl Recent {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && matches!(self.counts, Counts::Nothing)
    }

    /// Adds finite values. More different ones than `exact_values` are counted by bucket.
    #[inline]
    pub(super) fn extend(&mut self, values: impl Iterator<Item = f64>, exact_values: usize) {
        // There is no -0.0: it is equal to 0.0, and must be the same bytes.
        self.waiting.extend(values.map(|value| value + 0.0));
        if self.waiting.len() >= WAITING {
            self.count(exact_values);
        }
    }

    /// Counts the values that wait.
    #[cold]
    pub(super) fn count(&mut self, exact_values: usize) {
        let Self { waiting, counts } = self;
        if matches!(counts, Counts::Nothing) && !waiting.is_empty() {
            *counts = Counts::ByValue(ByValue::default());
        }
        let mut rest = waiting.as_slice();
        while let Counts::ByValue(by_value) = counts
            && !rest.is_empty()
        {
            let block;
            (block, rest) = rest.split_at(rest.len().min(BLOCK));
            by_value.add_block(block);
            if by_value.len > exact_values {
                *counts = Counts::ByBucket(Box::new(ByBucket::of(by_value)));
            }
        }
        if let Counts::ByBucket(by_bucket) = counts {
            by_bucket.add_all(rest);
        }
        waiting.clear();
    }

    /// Returns all of them sorted, and adds them to the moments.
    pub(super) fn settled(&self, moments: &mut Moments) -> Settled {
        let Self { waiting, counts } = self;
        let waiting = runs(waiting.clone());
        moments.extend(&waiting);
        let mut all = match counts {
            Counts::Nothing => return Settled::Exact(waiting),
            Counts::ByValue(counts) => {
                let values = counts.sorted();
                moments.extend(&values);
                Settled::Exact(values)
            }
            Counts::ByBucket(counts) => Settled::Folded(counts.folded(moments)),
        };
        all.add(&Settled::Exact(waiting));
        all
    }
}

/// Different values with their counts: a hash table with linear probing.
#[derive(Clone, Debug)]
struct ByValue {
    /// The bits of a value, and its count. Free if that is zero.
    slots: Vec<(u64, u64)>,
    len: usize,
}

impl Default for ByValue {
    fn default() -> Self {
        Self { slots: vec![(0, 0); 128], len: 0 }
    }
}

impl ByValue {
    /// Counts up to [`BLOCK`] values.
    fn add_block(&mut self, values: &[f64]) {
        if self.len + BLOCK > self.slots.len() / 8 * 5 {
            self.grow();
        }
        if self.slots.len() > CACHED_SLOTS {
            // The slots of all of them are read first, so that the cache misses overlap.
            let slots = values.iter().filter_map(|value| self.slots.get(self.begin(*value)));
            std::hint::black_box(slots.fold(0, |all, (_, count)| all | count));
        }
        values.iter().for_each(|value| self.add(*value, 1));
    }

    /// Returns where the search for a value begins.
    #[inline]
    fn begin(&self, value: f64) -> usize {
        // Multiplication mixes bits upwards: the upper ones depend on all.
        (value.to_bits().wrapping_mul(STEP) >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    /// Counts a value, for which there is a free slot.
    #[inline]
    fn add(&mut self, value: f64, times: u64) {
        let (bits, mut at) = (value.to_bits(), self.begin(value));
        let Self { slots, len } = self;
        let mask = slots.len() - 1;
        loop {
            let slot = &mut slots[at & mask];
            if slot.1 == 0 {
                *slot = (bits, times);
                *len += 1;
                return;
            }
            if slot.0 == bits {
                slot.1 += times;
                return;
            }
            at += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![(0, 0); self.slots.len() * 4];
        let old = std::mem::replace(self, Self { slots, len: 0 });
        old.iter().for_each(|(value, count)| self.add(value, count));
    }

    fn iter(&self) -> impl Iterator<Item = (f64, u64)> {
        self.slots.iter().filter(|(_, count)| *count > 0).map(|(bits, count)| (f64::from_bits(*bits), *count))
    }

    fn sorted(&self) -> Vec<(f64, u64)> {
        let mut values = Vec::with_capacity(self.len);
        values.extend(self.iter());
        values.sort_unstable_by(|a: &(f64, u64), b| a.0.total_cmp(&b.0));
        values
    }
}

/// The number of pages that there may be: one for each sign and exponent.
const HEADS: usize = 1 << 12;

/// Counts of buckets.
#[derive(Clone, Debug)]
struct ByBucket {
    /// For each sign and exponent the index of its page, plus one.
    places: Box<[u16; HEADS]>,
    pages: Vec<Page>,
    min: f64,
    max: f64,
    hashes: Hashes,
    /// Of values that are not usual.
    moments: Moments,
}

/// Values that have sign and exponent in common.
#[derive(Clone, Debug)]
struct Page {
    head: usize,
    /// Whether values are to be added to the moments one by one.
    is_unusual: bool,
    /// By the upper 8 bits of the mantissa.
    counts: [u64; 256],
    mantissas: Mantissas,
}

impl ByBucket {
    /// Begins with values that were counted one by one.
    fn of(counts: &ByValue) -> Self {
        let hashes = Hashes::of_different(counts.iter().map(|(value, _)| value));
        let mut folded = Self { hashes, ..Self::default() };
        counts.iter().for_each(|(value, count)| folded.add(value, count));
        folded
    }

    fn add_all(&mut self, values: &[f64]) {
        for value in values {
            self.hashes.add(*value);
            self.add(*value, 1);
        }
    }

    #[inline]
    fn add(&mut self, value: f64, times: u64) {
        if value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
        let place = self.places[head(value) % HEADS];
        let at = if place == 0 { self.open(head(value)) } else { usize::from(place) - 1 };
        let page = &mut self.pages[at];
        page.counts[(value.to_bits() >> 44) as usize % 256] += times;
        // Zeros, which are frequent, take no branch of their own. What they leave in their page is not used.
        if (page.is_unusual & (value != 0.0)) | (times > MOST_TIMES) {
            self.add_unusual(value, times);
        } else {
            page.mantissas.add(value, times);
        }
    }

    #[cold]
    fn add_unusual(&mut self, value: f64, times: u64) {
        self.moments.add(value, times);
    }

    #[cold]
    fn open(&mut self, head: usize) -> usize {
        let is_unusual = !is_usual(head);
        self.pages.push(Page { head, is_unusual, counts: [0; 256], mantissas: Mantissas::default() });
        self.places[head % HEADS] = self.pages.len() as u16;
        self.pages.len() - 1
    }

    fn folded(&self, moments: &mut Moments) -> Folded {
        let Self { places: _, pages, min, max, hashes, moments: unusual } = self;
        moments.merge(unusual);
        let at = |head: usize, upper: usize| bucket(f64::from_bits((head as u64) << 52 | (upper as u64) << 44));
        let (mut buckets, mut pages) = (Vec::new(), pages.iter().collect::<Vec<_>>());
        pages.sort_unstable_by_key(|page| at(page.head, 0));
        for Page { head, is_unusual: _, counts, mantissas } in pages {
            moments.add_mantissas(*head, mantissas);
            let counts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            let counts = counts.map(|(upper, count)| (at(*head, upper), *count));
            // A negative value is smaller if its mantissa is larger.
            if *head < HEADS / 2 { buckets.extend(counts) } else { buckets.extend(counts.rev()) }
        }
        Folded { buckets, min: *min, max: *max, distinct: hashes.distinct() }
    }
}

impl Default for ByBucket {
    fn default() -> Self {
        Self {
            places: Box::new([0; HEADS]),
            pages: Vec::new(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            hashes: Hashes::default(),
            moments: Moments::default(),
        }
    }
}
