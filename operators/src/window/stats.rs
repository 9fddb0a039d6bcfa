//! Statistics of a value: count, sum, mean, deviation, extremes.

use serde::{Deserialize, Serialize};

use super::Aggregate;
use crate::sum::{ExactSum, Pair};

mod array;

pub use array::StatsArray;

/// Count, sum, mean, population standard deviation, minimum and maximum of a value.
///
/// * **Exact**: count, minimum and maximum; the sum, rounded once, and the mean, which is made of it. So they are the
///   same in whatever order values came and partial results were merged. The deviation is so up to rounding. It does
///   not lose digits when the mean is large against it (Youngs and Cramer, 1971; merged by Chan, Golub and LeVeque,
///   1979).
/// * **NaN** among the values makes sum, mean, deviation, minimum and maximum NaN. **Infinities** make sum and mean
///   infinite (NaN where both are there) and the deviation NaN, and are minimum or maximum.
/// * **Overflow**: a sum beyond the largest float is infinite, and the mean still right. The deviation is infinite
///   where its square is beyond the largest float: from some 1e154 on.
///
/// As an accumulator of one's own it is exact as long as two floats hold the sum, which have 106 bits: not when 1e300
/// and 1 are added up, nor when a sum overflows on the way. [`ExactStats`] is exact then, too; [`stats_of`] keeps
/// those. For several values of each record there is [`StatsArray`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    count: u64,
    sum: f64,
    /// What rounding took from `sum`. Beside a sum that is beyond the floats, of values that are not: their mean.
    rounded: f64,
    /// Sum of squared deviations from the mean; NaN where a value is not finite.
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
    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        self.add_with(value, self.pair().plus_rounded(value));
    }

    /// Takes the values of another one in.
    pub fn merge(&mut self, other: &Self) {
        self.merge_with(other, self.pair().plus_rounded(other.sum).plus_rounded(other.rounded));
    }

    fn pair(&self) -> Pair {
        Pair { sum: self.sum, low: self.rounded }
    }

    /// Takes a value in; `sum` is the sum with it.
    #[inline]
    fn add_with(&mut self, value: f64, sum: Pair) {
        let before = self.count as f64;
        // As many times as there were values, the value's distance from their mean. Of a constant it is zero, as the
        // product is rounded as the sum is.
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

    /// The same where something is not finite, or further away than floats go.
    #[cold]
    fn add_unusual(&mut self, value: f64, sum: Pair) {
        let squares = if value.is_finite() { 0.0 } else { f64::NAN };
        let one = Self { count: 1, sum: value, rounded: 0.0, squares, min: value, max: value };
        self.merge_with(&one, sum);
    }

    /// Takes the values of another one in; `sum` is the sum with them.
    fn merge_with(&mut self, other: &Self, sum: Pair) {
        if other.count == 0 {
            return;
        }
        let (own, mean, other_mean) = (self.count as f64, self.mean(), other.mean());
        self.count += other.count;
        let share = other.count as f64 / self.count as f64;
        let apart = other_mean - mean;
        // Of none there is nothing to be apart from.
        self.squares += if own == 0.0 { other.squares } else { other.squares + apart * apart * (own * share) };
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

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum + self.rounded
    }

    /// Their mean; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let count = self.count as f64;
        if self.count == 0 {
            0.0
        } else if self.sum.is_finite() {
            // The sum has more digits than a float. What the quotient leaves of it is a part of the mean.
            let quotient = self.sum / count;
            let left = quotient.mul_add(-count, self.sum) + self.rounded;
            quotient + left / count
        } else if self.squares.is_nan() {
            self.sum
        } else {
            self.rounded
        }
    }

    /// Their population standard deviation; 0 of none.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// The least of them; infinity of none.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The greatest of them; minus infinity of none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }
}

/// The lesser one; NaN where one is.
fn least(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}

/// The greater one; NaN where one is.
fn greatest(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// [`Stats`] as an accumulator that is exact whatever the values. It is a pointer larger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExactStats {
    stats: Stats,
    /// The sum of finite values that has no place in `stats`.
    exact: Option<Box<ExactSum>>,
}

impl ExactStats {
    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        let sum = self.stats.pair().plus(value);
        if self.exact.is_none() && sum.is_exact() {
            self.stats.add_with(value, sum);
        } else {
            let sum = self.exact_sum_with(&Self::of_sum(Pair { sum: value, low: 0.0 }));
            self.stats.add_unusual(value, sum);
        }
    }

    /// Takes the values of another one in.
    pub fn merge(&mut self, other: &Self) {
        let sum = self.stats.pair().plus(other.stats.sum).plus(other.stats.rounded);
        let fits = self.exact.is_none() && other.exact.is_none() && sum.is_exact();
        let sum = if fits { sum } else { self.exact_sum_with(other) };
        self.stats.merge_with(&other.stats, sum);
    }

    /// The statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn of_sum(Pair { sum, low }: Pair) -> Self {
        Self { stats: Stats { sum, rounded: low, ..Stats::default() }, exact: None }
    }

    /// The sum by IEEE 754 if it is of a value that is not finite.
    fn not_finite(&self) -> Option<f64> {
        (self.exact.is_none() && !self.stats.sum.is_finite()).then_some(self.stats.sum)
    }

    /// Returns the sum of both, and keeps the exact one beside it.
    #[cold]
    fn exact_sum_with(&mut self, other: &Self) -> Pair {
        if self.not_finite().or(other.not_finite()).is_some() {
            // Nothing leaves: what is not finite stays, and hides the rest.
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

/// [`Stats`] of one value of each record.
pub struct StatsOf<T, F> {
    value: F,
    record: std::marker::PhantomData<fn(&T)>,
}

/// Aggregates the value that `value` takes out of each record.
pub fn stats_of<T, F: Fn(&T) -> f64>(value: F) -> StatsOf<T, F> {
    StatsOf { value, record: std::marker::PhantomData }
}

impl<T: 'static, F: Fn(&T) -> f64 + 'static> Aggregate for StatsOf<T, F> {
    type In = T;
    type Accumulator = ExactStats;
    type Out = Stats;

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
