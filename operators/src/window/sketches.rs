//! Approximate aggregates of bounded size: distinct counts and quantiles.

use std::hash::Hash;
use std::marker::PhantomData;

use cardinality_estimator::CardinalityEstimator;
use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};
use tidemill_state::hash_key;

use super::Aggregate;

/// How many different values there are, about. Made by [`distinct_of`].
pub struct DistinctOf<T, V, F> {
    value: F,
    record: PhantomData<fn(&T) -> V>,
}

/// Counts the different values that `value` takes out of the records: exactly up to some, beyond that by HyperLogLog++
/// with 4096 registers (3 KiB), with a standard error of 1.6 %.
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
    /// By the hash that keys have, which is the same in any process, hashed again: its bits alone are not even enough.
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

/// Quantiles of a value, about. Made by [`quantiles_of`].
pub struct QuantilesOf<T, F> {
    value: F,
    quantiles: Vec<f64>,
    record: PhantomData<fn(&T)>,
}

/// Quantiles, in the order they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Number of values.
    pub count: u64,
    /// The quantiles; none of no values.
    pub values: Vec<f64>,
}

/// Estimates quantiles (0 to 1; others are taken as the nearest of these) of the value that `value` takes out of each
/// record, within 1 % of the value (DDSketch: Masson, Rim, Lee, VLDB 2019). A sketch has 2048 bins: of values that
/// span more than some 17 orders of magnitude the least ones are told too high. Values that are not finite do not count.
pub fn quantiles_of<T, F: Fn(&T) -> f64>(quantiles: &[f64], value: F) -> QuantilesOf<T, F> {
    let quantiles = quantiles.iter().map(|q| q.clamp(0.0, 1.0)).collect();
    QuantilesOf { value, quantiles, record: PhantomData }
}

impl<T: 'static, F: Fn(&T) -> f64 + 'static> Aggregate for QuantilesOf<T, F> {
    type In = T;
    type Accumulator = DDSketch;
    type Out = Quantiles;

    fn empty(&self) -> DDSketch {
        DDSketch::new(Config::defaults())
    }
    fn add(&self, sketch: &mut DDSketch, record: &T) {
        let value = (self.value)(record);
        if value.is_finite() {
            sketch.add(value);
        }
    }
    fn merge(&self, into: &mut DDSketch, other: &DDSketch) {
        let merged = into.merge(other);
        debug_assert!(merged.is_ok(), "all sketches have one configuration");
    }
    fn finish(&self, sketch: &DDSketch) -> Quantiles {
        let values = self.quantiles.iter().filter_map(|q| sketch.quantile(*q).ok().flatten()).collect();
        Quantiles { count: sketch.count() as u64, values }
    }
}
