//! The kinds of metrics: a counter, a gauge and a distribution.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::histogram::Buckets;
use crate::locks::lock;
use crate::record::Arrival;

/// A counter, which only grows. Cheap to clone, shared with the registry.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the current value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A gauge: a number that is set. Cheap to clone, shared with the registry.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the current value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution (microseconds, records, bytes): percentiles with three significant digits for the page, and a
/// histogram with fixed buckets for Prometheus. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Distribution(Arc<Recorded>);

#[derive(Debug)]
struct Recorded {
    precise: Mutex<Histogram<u64>>,
    buckets: Buckets,
}

impl Distribution {
    /// The largest value that percentiles distinguish: an hour in microseconds. Larger ones are counted as this.
    const MAX: u64 = 3_600_000_000;

    /// Makes an empty distribution; the end of `name` is its unit.
    pub(crate) fn new(name: &str) -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants that hdrhistogram takes")]
        let histogram = Histogram::new_with_bounds(1, Self::MAX, 3).expect("constant bounds are valid");
        Self(Arc::new(Recorded { precise: Mutex::new(histogram), buckets: Buckets::of(name) }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        lock(&self.0.precise)
    }

    pub(super) fn buckets(&self) -> &Buckets {
        &self.0.buckets
    }

    /// Returns the percentiles of the recorded values.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles::from(&*self.lock())
    }

    /// Records one value.
    pub fn record(&self, value: u64) {
        self.record_all(std::iter::once(value));
    }

    /// Records many values under one lock.
    pub fn record_all(&self, values: impl Iterator<Item = u64>) {
        let mut tally = self.0.buckets.tally();
        let mut histogram = self.lock();
        for value in values {
            histogram.saturating_record(value);
            tally.add(value);
        }
        drop(histogram);
        self.0.buckets.add(&tally);
    }

    /// Records for each of `arrivals` how long before `now` it was, in microseconds.
    pub fn record_since(&self, now: Arrival, arrivals: impl Iterator<Item = Arrival>) {
        self.record_all(arrivals.map(|arrival| now.0.saturating_sub(arrival.0)));
    }
}

/// The percentiles of a distribution, in the unit that its name ends in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Number of values.
    pub count: u64,
    /// Mean of the values.
    pub mean: f64,
    /// Median: half of the values are at most this.
    pub p50: u64,
    /// 99th percentile: 99 % of the values are at most this.
    pub p99: u64,
    /// 99.9th percentile: 99.9 % of the values are at most this.
    pub p999: u64,
    /// Largest value.
    pub max: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}
