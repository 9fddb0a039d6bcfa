//! What a window keeps instead of its records, and what it makes of that.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidemill_engine::Data;

/// An incremental aggregate. Accumulators can be merged, in any grouping.
pub trait Aggregate: 'static {
    /// Whether an accumulator grows with its records. Sliding windows then keep no partial results.
    const GROWS: bool = false;
    /// What is aggregated.
    type In;
    /// What is kept.
    type Accumulator: Clone + Serialize + DeserializeOwned + 'static;
    /// What comes out.
    type Out: Data;

    /// What accumulators depend on beside the records, in words: how many are kept, how exact they are. A checkpoint keeps it,
    /// and a program that says something else is refused. Nothing by default.
    fn parameters(&self) -> String {
        String::new()
    }

    /// The accumulator of nothing.
    fn empty(&self) -> Self::Accumulator;
    /// Takes a record in.
    fn add(&self, accumulator: &mut Self::Accumulator, record: &Self::In);
    /// Takes another accumulator in.
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator);
    /// The result.
    fn finish(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// Two aggregates of the same records side by side.
impl<A: Aggregate, B: Aggregate<In = A::In>> Aggregate for (A, B) {
    const GROWS: bool = A::GROWS || B::GROWS;
    type In = A::In;
    type Accumulator = (A::Accumulator, B::Accumulator);
    type Out = (A::Out, B::Out);

    fn parameters(&self) -> String {
        let (first, second) = (self.0.parameters(), self.1.parameters());
        if first.is_empty() && second.is_empty() { String::new() } else { format!("({first} | {second})") }
    }
    fn empty(&self) -> Self::Accumulator {
        (self.0.empty(), self.1.empty())
    }
    fn add(&self, accumulator: &mut Self::Accumulator, record: &Self::In) {
        self.0.add(&mut accumulator.0, record);
        self.1.add(&mut accumulator.1, record);
    }
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) {
        self.0.merge(&mut into.0, &other.0);
        self.1.merge(&mut into.1, &other.1);
    }
    fn finish(&self, accumulator: &Self::Accumulator) -> Self::Out {
        (self.0.finish(&accumulator.0), self.1.finish(&accumulator.1))
    }
}

/// Count, mean, population standard deviation, minimum and maximum of a value.
///
/// The variance is updated by Welford's method and merged by that of Chan, Golub and LeVeque (1979):
/// it does not lose digits when the mean is large against the deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    count: u64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Stats {
    fn default() -> Self {
        Self { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Stats {
    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let from_old = value - self.mean;
        self.mean += from_old / self.count as f64;
        self.squares += from_old * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Takes the values of another one in.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        let all = self.count as f64;
        self.mean += apart * others / all;
        self.squares += other.squares + apart * apart * own * others / all;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.mean * self.count as f64
    }

    /// Their mean; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their population standard deviation; 0 of none.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).max(0.0).sqrt() }
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
    type Accumulator = Stats;
    type Out = Stats;

    fn empty(&self) -> Stats {
        Stats::default()
    }
    fn add(&self, accumulator: &mut Stats, record: &T) {
        accumulator.add((self.value)(record));
    }
    fn merge(&self, into: &mut Stats, other: &Stats) {
        into.merge(other);
    }
    fn finish(&self, accumulator: &Stats) -> Stats {
        *accumulator
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn merging_is_adding(values in prop::collection::vec(-1e6..1e6f64, 1..100), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(values.len());
            let (mut left, mut right) = (Stats::default(), Stats::default());
            values[..cut].iter().for_each(|v| left.add(*v));
            values[cut..].iter().for_each(|v| right.add(*v));
            left.merge(&right);
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            prop_assert!((left.mean() - mean).abs() <= 1e-9 * mean.abs().max(1.0));
            prop_assert!((left.std() - variance.sqrt()).abs() <= 1e-6 * variance.sqrt().max(1.0));
            prop_assert_eq!(left.count(), values.len() as u64);
            prop_assert_eq!(left.max(), values.iter().copied().fold(f64::MIN, f64::max));
        }
    }
}
