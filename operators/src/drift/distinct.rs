//! An estimate of the number of different values, in bounded memory.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::hash::mix;

/// Number of hashes that are kept. The standard error of the estimate is about 3 %.
const KEPT: usize = 1024;

/// The smallest hashes of the values (Bar-Yossef et al., RANDOM 2002; bottom-k). They do not depend on the order of the
/// values, and those of two parts are the smallest of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Distinct {
    smallest: BTreeSet<u64>,
}

impl Distinct {
    /// Returns the smallest hashes of values.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut hashes = Hashes::default();
        values.for_each(|value| hashes.add(value));
        hashes.distinct()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.smallest.iter().for_each(|hash| self.add_hash(*hash));
    }

    fn add_hash(&mut self, hash: u64) {
        if self.smallest.len() < KEPT {
            self.smallest.insert(hash);
        } else if self.smallest.last().is_some_and(|last| hash < *last) && self.smallest.insert(hash) {
            self.smallest.pop_last();
        }
    }

    /// Returns the estimate; it is exact up to 1023 different values.
    pub(super) fn estimate(&self) -> f64 {
        match self.smallest.last() {
            Some(last) if self.smallest.len() == KEPT => (KEPT - 1) as f64 / (*last as f64 / 2f64.powi(64)),
            _ => self.smallest.len() as f64,
        }
    }
}

/// Hashes that may be among the smallest ones: cheaper to add to.
#[derive(Clone, Debug)]
pub(super) struct Hashes {
    candidates: Vec<u64>,
    /// No larger one is among the smallest.
    bound: u64,
}

impl Default for Hashes {
    fn default() -> Self {
        Self { candidates: Vec::new(), bound: u64::MAX }
    }
}

impl Hashes {
    /// Returns those of values that are all different.
    pub(super) fn of_different(values: impl Iterator<Item = f64>) -> Self {
        let mut candidates: Vec<u64> = values.map(|value| mix(value.to_bits())).collect();
        let bound = match candidates.len() > KEPT {
            true => *candidates.select_nth_unstable(KEPT - 1).1,
            false => u64::MAX,
        };
        candidates.truncate(KEPT);
        Self { candidates, bound }
    }

    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        let hash = mix(value.to_bits());
        if hash <= self.bound {
            self.candidates.push(hash);
            if self.candidates.len() == 4 * KEPT {
                self.tidy();
            }
        }
    }

    #[cold]
    fn tidy(&mut self) {
        self.candidates = smallest(std::mem::take(&mut self.candidates));
        self.bound = self.candidates.get(KEPT - 1).copied().unwrap_or(u64::MAX);
    }

    pub(super) fn distinct(&self) -> Distinct {
        Distinct { smallest: smallest(self.candidates.clone()).into_iter().collect() }
    }
}

/// Returns the smallest of some hashes, in their order.
fn smallest(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(KEPT);
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_values_are_counted_once() {
        let few = Distinct::of((0..50_000).map(|i| f64::from(i % 700)));
        assert_eq!(few.estimate(), 700.0);
        let mut whole = Distinct::of((0..100_000).rev().map(|i| f64::from(i) / 7.0));
        let mut part = Distinct::of((0..100_000).map(|i| f64::from((i * 17) % 100_000) / 7.0));
        assert!((whole.estimate() / 100_000.0 - 1.0).abs() < 0.06, "{}", whole.estimate());
        part.merge(&few);
        whole.merge(&few);
        assert_eq!(whole, part);
    }
}
