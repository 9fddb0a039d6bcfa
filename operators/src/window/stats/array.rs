//! Statistics of several values that come together in a record, such as the readings of a machine's sensors.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::{Pair, Stats};

/// The [`Stats`] of each of `N` values that come together in a record. They cost a fraction of `N` separate [`Stats`],
/// since the values of a record are added side by side.
///
/// What [`Stats`] documents about exactness, NaN, infinities and overflow holds for each value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatsArray<const N: usize> {
    count: u64,
    sum: [f64; N],
    rounded: [f64; N],
    squares: [f64; N],
    min: [f64; N],
    max: [f64; N],
}

impl<const N: usize> Default for StatsArray<N> {
    fn default() -> Self {
        const { assert!(N > 0, "statistics of no value have no count") };
        let (zero, min, max) = ([0.0; N], [f64::INFINITY; N], [f64::NEG_INFINITY; N]);
        Self { count: 0, sum: zero, rounded: zero, squares: zero, min, max }
    }
}

impl<const N: usize> StatsArray<N> {
    /// Adds the values of a record.
    #[inline]
    pub fn add(&mut self, values: &[f64; N]) {
        // The same as `Stats::add_with`, whose comments apply here. The loop has no branch, so that the compiler can
        // add several values at a time, and the processor can fetch all of a window's memory at once.
        let before = self.count as f64;
        let pairs = (before + 1.0) * before.max(1.0);
        let (mut sum, mut rounded, mut squares) = (self.sum, self.rounded, self.squares);
        let mut is_usual = true;
        for at in 0..N {
            let (with, exact) = Pair { sum: sum[at], low: rounded[at] }.plus_if_exact(values[at]);
            let apart = values[at] * before - sum[at];
            (sum[at], rounded[at]) = (with.sum, with.low);
            squares[at] += apart * apart / pairs;
            is_usual &= exact & squares[at].is_finite();
        }
        if !is_usual {
            return self.add_each(values);
        }
        self.count += 1;
        (self.sum, self.rounded, self.squares) = (sum, rounded, squares);
        for (at, value) in values.iter().enumerate() {
            self.min[at] = if *value < self.min[at] { *value } else { self.min[at] };
            self.max[at] = if *value > self.max[at] { *value } else { self.max[at] };
        }
    }

    /// Adds the records of `other`.
    pub fn merge(&mut self, other: &Self) {
        let mut all = self.all();
        for (at, stats) in all.iter_mut().enumerate() {
            stats.merge(&other.of(at));
        }
        *self = Self::from(all);
    }

    /// Returns the number of records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the statistics of each value.
    #[must_use]
    pub fn all(&self) -> [Stats; N] {
        std::array::from_fn(|at| self.of(at))
    }

    fn of(&self, at: usize) -> Stats {
        let (sum, rounded, squares) = (self.sum[at], self.rounded[at], self.squares[at]);
        Stats { count: self.count, sum, rounded, squares, min: self.min[at], max: self.max[at] }
    }

    #[cold]
    fn add_each(&mut self, values: &[f64; N]) {
        let mut all = self.all();
        all.iter_mut().zip(values).for_each(|(stats, value)| stats.add(*value));
        *self = Self::from(all);
    }
}

impl<const N: usize> From<[Stats; N]> for StatsArray<N> {
    fn from(all: [Stats; N]) -> Self {
        Self {
            count: all.first().map_or(0, |stats| stats.count),
            sum: all.map(|stats| stats.sum),
            rounded: all.map(|stats| stats.rounded),
            squares: all.map(|stats| stats.squares),
            min: all.map(|stats| stats.min),
            max: all.map(|stats| stats.max),
        }
    }
}

impl<const N: usize> Serialize for StatsArray<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all())
    }
}

impl<'de, const N: usize> Deserialize<'de> for StatsArray<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = SmallVec::<[Stats; N]>::deserialize(deserializer)?;
        let all: [Stats; N] =
            all[..].try_into().map_err(|_| D::Error::invalid_length(all.len(), &"as many as there are values"))?;
        match all.iter().all(|stats| stats.count == all[0].count) {
            true => Ok(Self::from(all)),
            false => Err(D::Error::custom("statistics of values that came together differ in their count")),
        }
    }
}
