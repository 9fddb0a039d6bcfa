//! A histogram with fixed buckets, which a worker fills without a lock and Prometheus can add up over workers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::native::Native;

/// Upper bounds of durations, in microseconds: 1, 2, 5 in each decade, from 100 µs to a minute.
const DURATIONS_US: [u64; 18] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000, 20_000_000, 60_000_000,
];
/// Upper bounds of numbers of records or bytes.
const SIZES: [u64; 18] =
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 65_536, 262_144, 1_048_576];
/// Number of buckets, with the one that has no bound.
const BUCKETS: usize = 19;

/// The counts of values by bucket. Relaxed additions: a reader may see a value in a bucket and not yet in the sum.
#[derive(Debug)]
pub(super) struct Buckets {
    bounds: &'static [u64; BUCKETS - 1],
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// The counts of some values that are not yet added to a histogram.
pub(super) struct Tally {
    bounds: &'static [u64; BUCKETS - 1],
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(value);
    }
}

impl Buckets {
    /// Makes an empty histogram for the unit in which `name` ends.
    pub(super) fn of(name: &str) -> Self {
        let bounds = if name.ends_with("_us") { &DURATIONS_US } else { &SIZES };
        Self { bounds, counts: Default::default(), sum: AtomicU64::new(0) }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally { bounds: self.bounds, counts: [0; BUCKETS], sum: 0 }
    }

    /// Adds what was tallied: one addition for each bucket that has values.
    pub(super) fn add(&self, tally: &Tally) {
        for (count, more) in self.counts.iter().zip(tally.counts).filter(|(_, more)| *more > 0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        if tally.sum > 0 {
            self.sum.fetch_add(tally.sum, Ordering::Relaxed);
        }
    }

    /// Returns the histogram with its bounds and its sum divided by `per`, which turns their unit into a base unit.
    pub(super) fn read(&self, per: f64) -> Counts {
        let mut total = 0;
        let cumulative = self.counts.iter().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        });
        let cumulative = cumulative.collect();
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / per).collect();
        Counts { bounds, cumulative, native: None, sum: self.sum.load(Ordering::Relaxed) as f64 / per }
    }
}

/// A histogram as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counts {
    /// The upper bounds of all buckets except the last, which has none.
    pub(super) bounds: Vec<f64>,
    /// Number of values up to each bound; the last is the number of all values.
    pub(super) cumulative: Vec<u64>,
    pub(super) sum: f64,
    /// The same as a native histogram, if that is wanted.
    pub(super) native: Option<Native>,
}

impl Counts {
    /// Adds another histogram, which has the same bounds.
    pub(super) fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds);
        self.cumulative.iter_mut().zip(&other.cumulative).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
        if let (Some(native), Some(more)) = (&mut self.native, &other.native) {
            native.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_each_bucket_whose_bound_it_does_not_exceed() {
        let buckets = Buckets::of("latency_us");
        let mut tally = buckets.tally();
        [0, 100, 101, 60_000_000, 60_000_001].into_iter().for_each(|value| tally.add(value));
        buckets.add(&tally);
        let Counts { bounds, cumulative, sum, .. } = buckets.read(1e6);
        assert_eq!((bounds[0], bounds[1], bounds[17]), (1e-4, 2e-4, 60.0));
        assert_eq!((cumulative[0], cumulative[1], cumulative[17], cumulative[18]), (2, 3, 4, 5));
        assert!((sum - 120.000_202).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn histograms_of_workers_add_up() {
        let buckets = Buckets::of("batch_size_records");
        let mut tally = buckets.tally();
        tally.add(64);
        buckets.add(&tally);
        let mut both = buckets.read(1.0);
        both.merge(&buckets.read(1.0));
        assert_eq!((both.cumulative[5], both.cumulative[6], both.sum), (0, 2, 128.0));
    }
}
