//! Keys, values, and the hash that places a key.
//!
//! ```text
//! key ── hash_key ──▶ u64 ─┬─ low bits: slot in the hot table
//!                          └─ high bits: key group 0..128 ──▶ worker (contiguous ranges)
//! ```
//! The hash and the key group are part of the checkpoint format: how they are computed never changes.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use serde::{Serialize, de::DeserializeOwned};

/// A type that a stream can be keyed by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot key a stream",
    note = "keys are hashed, stored and sent between workers: derive Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize"
)]
pub trait Key: Clone + Debug + Hash + Ord + Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Debug + Hash + Ord + Serialize + DeserializeOwned + 'static> Key for T {}

/// A type that state can store.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in state",
    note = "state is written to checkpoints: derive Serialize, Deserialize"
)]
pub trait Value: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Value for T {}

/// Returns the hash of a key, which is the same in every process of every run.
pub fn hash_key<K: Hash + ?Sized>(key: &K) -> u64 {
    const SEED: u64 = 0x7469_6465_6d69_6c6c; // "tidemill"
    FixedState::with_seed(SEED).hash_one(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{KeyGroup, KeyGroups};

    #[test]
    fn placement_is_part_of_the_checkpoint_format() {
        // Changing any of these numbers makes every checkpoint unreadable.
        assert_eq!((hash_key(&42u64), hash_key("card")), (5_207_613_801_244_508_109, 8_336_593_703_383_559_063));
        let groups = KeyGroups::new(128);
        assert_eq!(groups.of_hash(0), KeyGroup(0));
        assert_eq!(groups.of_hash(u64::MAX), KeyGroup(127));
    }
}
