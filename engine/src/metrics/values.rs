//! What is counted and measured: a number that grows, one that is set, a distribution.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::locks::lock;
use crate::record::Arrival;

/// A number that only grows. Cheap to clone, shared with the registry.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set. Cheap to clone, shared with the registry.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution (microseconds, records, bytes) with three significant digits. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Distribution(Arc<Mutex<Histogram<u64>>>);

impl Distribution {
    /// The largest value told apart: an hour in microseconds. Larger ones count as this.
    const MAX: u64 = 3_600_000_000;

    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants that hdrhistogram takes")]
        let histogram = Histogram::new_with_bounds(1, Self::MAX, 3).expect("constant bounds are valid");
        Self(Arc::new(Mutex::new(histogram)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        lock(&self.0)
    }

    /// Percentiles of what was recorded.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles::from(&*self.lock())
    }

    /// Records one value.
    pub fn record(&self, value: u64) {
        self.lock().saturating_record(value);
    }

    /// Records many values under one lock.
    pub fn record_all(&self, values: impl Iterator<Item = u64>) {
        let mut histogram = self.lock();
        values.for_each(|value| histogram.saturating_record(value));
    }

    /// Records how long ago each of `arrivals` was, in microseconds.
    pub fn record_since(&self, now: Arrival, arrivals: impl Iterator<Item = Arrival>) {
        self.record_all(arrivals.map(|arrival| now.0.saturating_sub(arrival.0)));
    }
}

/// Percentiles of a distribution, in the unit its name ends in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// 99.9 % are at most this.
    pub p999: u64,
    /// The largest.
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
