//! Statistics of a value: count, sum, mean, deviation, extremes.

use serde::{Deserialize, Serialize};

use super::Aggregate;
use crate::sum::{ExactSum, Pair};

mod array;

pub use array::StatsArray;

/// The count, sum, mean, population standard deviation, minimum and maximum of a value.
///
/// * **Exact**: the count, the minimum and the maximum; the sum, rounded once; and the mean, which is computed from
///   the exact sum. So they are the same in whatever order values came and partial results were merged. The deviation
///   is the same up to rounding. It does not lose digits when the mean is large compared to it (Youngs and Cramer,
///   1971; merged by Chan, Golub and LeVeque, 1979).
/// * **NaN** among the values makes the sum, mean, deviation, minimum and maximum NaN. **Infinities** make the sum and
///   the mean infinite (NaN if there are infinities of both signs) and the deviation NaN, and are the minimum or
///   maximum.
/// * **Overflow**: a sum beyond the largest float is infinite, but the mean is still correct. The deviation is infinite
///   where its square is beyond the largest float, which is from about 1e154 on.
///
/// When a program uses this type itself as an accumulator, it is exact as long as the sum fits in two floats, which
/// have 106 bits. It does not fit when 1e300 and 1 are added up, or when a sum overflows on the way. [`ExactStats`] is
/// exact then, too, and [`stats_of`] uses it. For several values of each record there is [`StatsArray`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    count: u64,
    sum: f64,
    /// The part of the sum that rounding took from `sum`. If the values are finite but `sum` overflowed, it is their
    /// mean instead.
    rounded: f64,
    /// Sum of squared deviations from the mean; NaN if a value is not finite.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Stats {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, rounded: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Stats {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.add_with(value, self.pair().plus_rounded(value));
    }

    /// Adds the values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.merge_with(other, self.pair().plus_rounded(other.sum).plus_rounded(other.rounded));
    }

    fn pair(&self) -> Pair {
        Pair { sum: self.sum, low: self.rounded }
    }

    /// Adds a value; `sum` is the sum that includes it.
    #[inline]
    fn add_with(&mut self, value: f64, sum: Pair) {
        let before = self.count as f64;
        // The distance of the value from the mean so far, times the number of values so far. If all values are the
        // same it is zero, since the product is rounded in the same way as the sum.
        let apart = value * before - self.sum;
        let squares = self.squares + apart * apart / ((before + 1.0) * before.max(1.0));
        if !squares.is_finite() || !sum.sum.is_finite() {
            return self.add_unusual(value, sum);
        }
        self.count += 1;
        self.squares = squares;
        (self.sum, self.rounded) = (sum.sum, sum.low);
        if value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
    }

    /// Adds a value where something is not finite, or beyond the range of floats.
    #[cold]
    fn add_unusual(&mut self, value: f64, sum: Pair) {
        let squares = if value.is_finite() { 0.0 } else { f64::NAN };
        let one = Self { count: 1, sum: value, rounded: 0.0, squares, min: value, max: value };
        self.merge_with(&one, sum);
    }

    /// Adds the values of `other`; `sum` is the sum that includes them.
    fn merge_with(&mut self, other: &Self, sum: Pair) {
        if other.count == 0 {
            return;
        }
        let (own, mean, other_mean) = (self.count as f64, self.mean(), other.mean());
        self.count += other.count;
        let share = other.count as f64 / self.count as f64;
        let apart = other_mean - mean;
        // An empty accumulator has no mean to differ from.
        self.squares += if own == 0.0 { other.squares } else { other.squares + weighted_square(apart, own * share) };
        self.min = least(self.min, other.min);
        self.max = greatest(self.max, other.max);
        self.sum = sum.sum;
        self.rounded = if sum.is_exact() {
            sum.low
        } else if self.sum.is_infinite() && !self.squares.is_nan() {
            mean * (1.0 - share) + other_mean * share
        } else {
            0.0
        };
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of the values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum + self.rounded
    }

    /// Returns the mean of the values; 0 if there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let count = self.count as f64;
        if self.count == 0 {
            0.0
        } else if self.sum.is_finite() {
            // The sum has more digits than one float. The remainder of the division is added to the mean as well.
            let quotient = self.sum / count;
            let left = quotient.mul_add(-count, self.sum) + self.rounded;
            quotient + left / count
        } else if self.squares.is_nan() {
            self.sum
        } else {
            self.rounded
        }
    }

    /// Returns the population standard deviation of the values; 0 if there are none.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// Returns the least value; infinity if there are none.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// Returns the greatest value; minus infinity if there are none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }
}

/// Returns `apart * apart * weight`. The square alone may be beyond the range of floats where the product is not.
fn weighted_square(apart: f64, weight: f64) -> f64 {
    let product = apart * apart * weight;
    if product.is_finite() { product } else { apart * (apart * weight) }
}

/// Returns the lesser of two values; NaN if one of them is NaN.
fn least(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}

/// Returns the greater of two values; NaN if one of them is NaN.
fn greatest(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// An accumulator of [`Stats`] that is exact for all values. It is larger than [`Stats`] by one pointer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExactStats {
    stats: Stats,
    /// The exact sum of finite values, if two floats in `stats` cannot represent it.
    exact: Option<Box<ExactSum>>,
}

impl ExactStats {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        let sum = self.stats.pair().plus(value);
        if self.exact.is_none() && sum.is_exact() {
            self.stats.add_with(value, sum);
        } else {
            let sum = self.exact_sum_with(&Self::of_sum(Pair { sum: value, low: 0.0 }));
            self.stats.add_unusual(value, sum);
        }
    }

    /// Adds the values of `other`.
    pub fn merge(&mut self, other: &Self) {
        let sum = self.stats.pair().plus(other.stats.sum).plus(other.stats.rounded);
        let fits = self.exact.is_none() && other.exact.is_none() && sum.is_exact();
        let sum = if fits { sum } else { self.exact_sum_with(other) };
        self.stats.merge_with(&other.stats, sum);
    }

    /// Returns the statistics of the values.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn of_sum(Pair { sum, low }: Pair) -> Self {
        Self { stats: Stats { sum, rounded: low, ..Stats::default() }, exact: None }
    }

    /// Returns the sum by IEEE 754, if a value that is not finite is part of it.
    fn not_finite(&self) -> Option<f64> {
        (self.exact.is_none() && !self.stats.sum.is_finite()).then_some(self.stats.sum)
    }

    /// Returns the sum of both, and keeps the exact sum.
    #[cold]
    fn exact_sum_with(&mut self, other: &Self) -> Pair {
        if self.not_finite().or(other.not_finite()).is_some() {
            // Values are never removed: one that is not finite stays, and determines the sum whatever the finite
            // values are.
            let sum = self.not_finite().unwrap_or(0.0) + other.not_finite().unwrap_or(0.0);
            self.exact = None;
            return Pair { sum, low: 0.0 };
        }
        let own = self.stats.pair();
        let exact = self.exact.get_or_insert_with(|| Box::new(ExactSum::of(own)));
        match &other.exact {
            Some(other) => exact.merge(other),
            None => exact.merge(&ExactSum::of(other.stats.pair())),
        }
        exact.pair()
    }
}

/// An aggregate that computes [`Stats`] of one value of each record. Made by [`stats_of`].
pub struct StatsOf<T, F> {
    value: F,
    record: std::marker::PhantomData<fn(&T)>,
}

/// Returns an aggregate that computes [`Stats`] of the value that `value` takes from each record.
pub fn stats_of<T, F: Fn(&T) -> f64>(value: F) -> StatsOf<T, F> {
    StatsOf { value, record: std::marker::PhantomData }
}

impl<T: 'static, F: Fn(&T) -> f64 + 'static> Aggregate for StatsOf<T, F> {
    type In = T;
    type Accumulator = ExactStats;
    type Out = Stats;

    fn prefetch(accumulator: &ExactStats) {
        std::hint::black_box(accumulator.stats.sum);
    }
    fn empty(&self) -> ExactStats {
        ExactStats::default()
    }
    fn add(&self, accumulator: &mut ExactStats, record: &T) {
        accumulator.add((self.value)(record));
    }
    fn merge(&self, into: &mut ExactStats, other: &ExactStats) {
        into.merge(other);
    }
    fn finish(&self, accumulator: &ExactStats) -> Stats {
        accumulator.stats()
    }
}

#[cfg(test)]
mod tests;
