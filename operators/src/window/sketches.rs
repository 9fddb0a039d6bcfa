//! Approximate aggregates of bounded size: distinct counts and quantiles.

use std::hash::Hash;
use std::marker::PhantomData;

use cardinality_estimator::CardinalityEstimator;
use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};
use tidemill_state::hash_key;

use super::Aggregate;

/// An aggregate that estimates the number of different values. Made by [`distinct_of`].
pub struct DistinctOf<T, V, F> {
    value: F,
    record: PhantomData<fn(&T) -> V>,
}

/// Returns an aggregate that counts the different values that `value` takes from the records. The count is exact while
/// there are only a few; beyond that it is estimated by HyperLogLog++ with 4096 registers (3 KiB), with a standard
/// error of 1.6 %.
pub fn distinct_of<T, V: Hash, F: Fn(&T) -> V>(value: F) -> DistinctOf<T, V, F> {
    DistinctOf { value, record: PhantomData }
}

impl<T: 'static, V: Hash + 'static, F: Fn(&T) -> V + 'static> Aggregate for DistinctOf<T, V, F> {
    type In = T;
    type Accumulator = CardinalityEstimator<u64>;
    type Out = u64;

    fn empty(&self) -> Self::Accumulator {
        CardinalityEstimator::new()
    }
    /// Adds the hash that is used for keys, which is the same in every process. The estimator hashes it once more,
    /// since the bits of that hash alone are not uniform enough.
    fn add(&self, accumulator: &mut Self::Accumulator, record: &T) {
        accumulator.insert(&hash_key(&(self.value)(record)));
    }
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) {
        into.merge(other);
    }
    fn finish(&self, accumulator: &Self::Accumulator) -> u64 {
        accumulator.estimate() as u64
    }
}

/// An aggregate that estimates quantiles of a value. Made by [`quantiles_of`].
pub struct QuantilesOf<T, F> {
    value: F,
    quantiles: Vec<f64>,
    record: PhantomData<fn(&T)>,
}

/// The quantiles of a window, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Number of values.
    pub count: u64,
    /// The quantiles; empty when there are no values.
    pub values: Vec<f64>,
}

/// Returns an aggregate that estimates quantiles of the value that `value` takes from each record.
///
/// * `quantiles` are numbers from 0 to 1; those outside are moved to the nearer end.
/// * An estimate is within 1 % of the true value (DDSketch: Masson, Rim, Lee, VLDB 2019). A sketch has 2048 bins: if
///   the values span more than about 17 orders of magnitude, the lowest ones are estimated too high.
/// * A NaN among the values makes all quantiles NaN. Infinities come before or after all other values.
pub fn quantiles_of<T, F: Fn(&T) -> f64>(quantiles: &[f64], value: F) -> QuantilesOf<T, F> {
    let quantiles = quantiles.iter().map(|q| q.clamp(0.0, 1.0)).collect();
    QuantilesOf { value, quantiles, record: PhantomData }
}

/// The accumulator of [`quantiles_of`].
#[derive(Clone, Serialize, Deserialize)]
pub struct Sketch {
    finite: DDSketch,
    nan: u64,
    infinite: u64,
    minus_infinite: u64,
}

impl Sketch {
    const ACCURACY: f64 = 0.01;
    const BINS: u32 = 2048;

    fn empty() -> Self {
        // Only values below the least float of full precision count as zero, not those below the sketch's default of
        // 1e-9.
        let config = Config::new(Self::ACCURACY, Self::BINS, f64::MIN_POSITIVE);
        Self { finite: DDSketch::new(config), nan: 0, infinite: 0, minus_infinite: 0 }
    }

    fn add(&mut self, value: f64) {
        match value {
            _ if value.is_nan() => self.nan += 1,
            f64::INFINITY => self.infinite += 1,
            f64::NEG_INFINITY => self.minus_infinite += 1,
            _ => self.finite.add(value),
        }
    }

    fn count(&self) -> u64 {
        self.finite.count() as u64 + self.nan + self.infinite + self.minus_infinite
    }

    /// Returns the value that a share `q` of all values comes before.
    fn quantile(&self, q: f64) -> Option<f64> {
        let (count, finite) = (self.count(), self.finite.count() as u64);
        if self.nan > 0 || count == 0 {
            return (count > 0).then_some(f64::NAN);
        }
        let rank = (q * (count - 1) as f64) as u64;
        let Some(rank) = rank.checked_sub(self.minus_infinite) else { return Some(f64::NEG_INFINITY) };
        if rank >= finite {
            return Some(f64::INFINITY);
        }
        // If all values are finite, this is `q`. Otherwise half a rank is added, so that rounding does not pick the
        // rank before.
        let of_finite = if finite == count { q } else { ((rank as f64 + 0.5) / (finite - 1) as f64).min(1.0) };
        let estimate = self.finite.quantile(if rank == 0 { 0.0 } else { of_finite }).ok().flatten()?;
        // The middle of a bin may lie beyond all values in the bin.
        Some(estimate.clamp(self.finite.min()?, self.finite.max()?))
    }
}

impl<T: 'static, F: Fn(&T) -> f64 + 'static> Aggregate for QuantilesOf<T, F> {
    type In = T;
    type Accumulator = Sketch;
    type Out = Quantiles;

    fn empty(&self) -> Sketch {
        Sketch::empty()
    }
    fn add(&self, sketch: &mut Sketch, record: &T) {
        sketch.add((self.value)(record));
    }
    fn merge(&self, into: &mut Sketch, other: &Sketch) {
        let merged = into.finite.merge(&other.finite);
        debug_assert!(merged.is_ok(), "all sketches have one configuration");
        into.nan += other.nan;
        into.infinite += other.infinite;
        into.minus_infinite += other.minus_infinite;
    }
    fn finish(&self, sketch: &Sketch) -> Quantiles {
        let values = self.quantiles.iter().filter_map(|q| sketch.quantile(*q)).collect();
        Quantiles { count: sketch.count(), values }
    }
}

#[cfg(test)]
mod tests;
