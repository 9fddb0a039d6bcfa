//! Keys, their hash, and key groups: the unit of placement and of rescaling.
//!
//! ```text
//! key ── hash_key ──▶ u64 ─┬─ low bits: slot in the hot table
//!                          └─ high bits: key group 0..128 ──▶ worker (contiguous ranges)
//! ```
//! The hash and the key group are part of what checkpoints mean: they never change.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::ops::Range;

use foldhash::fast::FixedState;
use serde::{Serialize, de::DeserializeOwned};

/// Key groups of a job that says nothing else.
pub const DEFAULT_KEY_GROUPS: u16 = 128;

/// What a stream can be keyed by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot key a stream",
    note = "keys are hashed, stored and sent between workers: derive Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize"
)]
pub trait Key: Clone + Debug + Hash + Ord + Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Debug + Hash + Ord + Serialize + DeserializeOwned + 'static> Key for T {}

/// What state can hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in state",
    note = "state is written to checkpoints: derive Serialize, Deserialize"
)]
pub trait Value: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Value for T {}

/// The hash of a key, the same in every process of every run.
pub fn hash_key<K: Hash + ?Sized>(key: &K) -> u64 {
    const SEED: u64 = 0x7469_6465_6d69_6c6c; // "tidemill"
    FixedState::with_seed(SEED).hash_one(key)
}

/// A group of keys that lives on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

/// How many key groups a job has, and who owns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroups(u16);

impl KeyGroups {
    /// `count` key groups (0 is taken as 1).
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self(count.max(1))
    }

    /// The group of a key with this hash: by its high bits, as hot tables use the low ones.
    #[must_use]
    pub fn of_hash(self, hash: u64) -> KeyGroup {
        KeyGroup(((u128::from(hash) * u128::from(self.0)) >> 64) as u16)
    }

    /// The worker that owns a group: worker `w` of `n` has a contiguous range.
    #[must_use]
    pub fn worker_of(self, group: KeyGroup, workers: usize) -> usize {
        usize::from(group.0) * workers / usize::from(self.0)
    }

    /// The groups that a worker owns.
    #[must_use]
    pub fn owned(self, worker: usize, workers: usize) -> Range<u16> {
        let first = |worker: usize| (worker * usize::from(self.0)).div_ceil(workers) as u16;
        first(worker)..first(worker + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_part_of_the_checkpoint_format() {
        // Changing any of these numbers makes every checkpoint unreadable.
        assert_eq!((hash_key(&42u64), hash_key("card")), (5_207_613_801_244_508_109, 8_336_593_703_383_559_063));
        let groups = KeyGroups::new(128);
        assert_eq!(groups.of_hash(0), KeyGroup(0));
        assert_eq!(groups.of_hash(u64::MAX), KeyGroup(127));
    }

    #[test]
    fn every_group_has_exactly_one_owner() {
        for (count, workers) in [(128, 1), (128, 3), (128, 4), (7, 5), (128, 128)] {
            let groups = KeyGroups::new(count);
            for group in 0..count {
                let owner = groups.worker_of(KeyGroup(group), workers);
                let owners: Vec<usize> = (0..workers).filter(|w| groups.owned(*w, workers).contains(&group)).collect();
                assert_eq!(owners, [owner], "group {group} of {count}, {workers} workers");
            }
        }
    }
}
