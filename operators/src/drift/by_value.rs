//! Different values with their counts, in the order in which they came, and a hash table of their places with linear
//! probing. That table has a quarter of the bytes of one with values and counts in it, and much of what is looked up is not
//! there yet.

use super::hash::STEP;

/// Number of values that are looked up together.
pub(super) const BLOCK: usize = 32;
/// Number of slots that the nearest cache of a processor has room for.
const CACHED_SLOTS: usize = 8192;

/// Different values with their counts, and where each one is.
#[derive(Clone, Debug)]
pub(super) struct ByValue {
    values: Vec<(f64, u64)>,
    /// The index of a value, plus one. Zero is free.
    slots: Vec<u32>,
}

impl Default for ByValue {
    fn default() -> Self {
        Self { values: Vec::new(), slots: vec![0; 256] }
    }
}

impl ByValue {
    /// More values are counted otherwise: an index has 32 bits.
    pub(super) const MOST: usize = 1 << 31;

    /// Returns the values with their counts.
    pub(super) fn values(&self) -> &[(f64, u64)] {
        &self.values
    }

    /// Counts up to [`BLOCK`] values.
    pub(super) fn add_block(&mut self, values: &[f64]) {
        self.reserve();
        if self.slots.len() > CACHED_SLOTS {
            // What all of them need is read first, so that the cache misses overlap.
            let counts = values.iter().filter_map(|value| {
                let at = *self.slots.get(self.begin(*value))?;
                self.values.get((at as usize).wrapping_sub(1))
            });
            std::hint::black_box(counts.fold(0, |all, (_, count)| all | count));
        }
        values.iter().for_each(|value| self.add(*value, 1));
    }

    pub(super) fn add_times(&mut self, value: f64, times: u64) {
        self.reserve();
        self.add(value, times);
    }

    /// Sees to it that there are free slots for [`BLOCK`] values.
    #[inline]
    fn reserve(&mut self) {
        if self.values.len() + BLOCK > self.slots.len() / 8 * 5 {
            self.grow();
        }
    }

    /// Returns where the search for a value begins.
    #[inline]
    fn begin(&self, value: f64) -> usize {
        // Multiplication mixes bits upwards: the upper ones depend on all.
        (value.to_bits().wrapping_mul(STEP) >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    /// Counts a value, for which there is a free slot.
    #[inline]
    fn add(&mut self, value: f64, times: u64) {
        let mut at = self.begin(value);
        let Self { values, slots } = self;
        let mask = slots.len() - 1;
        loop {
            let slot = &mut slots[at & mask];
            if *slot == 0 {
                values.push((value, times));
                *slot = values.len() as u32;
                return;
            }
            let (of_slot, count) = &mut values[*slot as usize - 1];
            if *of_slot == value {
                *count += times;
                return;
            }
            at += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 4];
        let mask = self.slots.len() - 1;
        for (index, (value, _)) in (1..).zip(&self.values) {
            let mut at = self.begin(*value);
            while self.slots[at & mask] != 0 {
                at += 1;
            }
            self.slots[at & mask] = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(values in prop::collection::vec((0..9_000_i32, 1..3_u64), 0..12_000)) {
            let (mut by_value, mut expected) = (ByValue::default(), BTreeMap::new());
            for few in values.chunks(BLOCK) {
                let block: Vec<f64> = few.iter().map(|(value, _)| f64::from(*value) / 7.0).collect();
                by_value.add_block(&block);
                few.iter().for_each(|(value, times)| by_value.add_times(f64::from(*value) / 7.0, *times));
                few.iter().for_each(|(value, times)| *expected.entry(*value).or_insert(0) += 1 + times);
            }
            let found: BTreeMap<u64, u64> = by_value.values().iter().map(|(value, count)| (value.to_bits(), *count)).collect();
            prop_assert_eq!(found.len(), by_value.values().len(), "each value once");
            let expected = expected.into_iter().map(|(value, count)| ((f64::from(value) / 7.0).to_bits(), count)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
