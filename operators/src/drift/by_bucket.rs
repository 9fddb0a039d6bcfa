//! Values that are counted in buckets: pages of counters, one for each sign and exponent that came.

use super::distinct::Hashes;
use super::folded::Folded;
use super::moments::{MOST_TIMES, Mantissas, Moments, head, is_usual};
use crate::buckets::bucket;

/// The number of pages that there may be: one for each sign and exponent.
const HEADS: usize = 1 << 12;

/// Counts of buckets.
#[derive(Clone, Debug)]
pub(super) struct ByBucket {
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
    pub(super) fn of(counts: &[(f64, u64)]) -> Self {
        let hashes = Hashes::of_different(counts.iter().map(|(value, _)| *value));
        let mut folded = Self { hashes, ..Self::default() };
        counts.iter().for_each(|(value, count)| folded.add(*value, *count));
        folded
    }

    pub(super) fn add_all(&mut self, values: &[f64]) {
        values.iter().for_each(|value| self.add_times(*value, 1));
    }

    #[inline]
    pub(super) fn add_times(&mut self, value: f64, times: u64) {
        self.hashes.add(value);
        self.add(value, times);
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

    pub(super) fn folded(&self, moments: &mut Moments) -> Folded {
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
