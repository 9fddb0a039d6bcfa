//! The bucket of a key: which keys a canary gets.
//!
//! It is GrowthBook's hash, version 2: the same key is in the same bucket at each time, on each machine and in each run, and
//! other seeds choose other keys. A share that grows adds keys, and takes none away.

use std::fmt::{Display, Write};

/// Number of buckets.
pub(in crate::infer) const BUCKETS: u32 = 10_000;

/// Returns the bucket of a key, from 0 to 9,999.
pub(in crate::infer) fn bucket(seed: &str, key: impl Display) -> u32 {
    hash(hash(format_args!("{seed}{key}"))) % BUCKETS
}

/// Returns a hash of a text.
pub(in crate::infer) fn hash(text: impl Display) -> u32 {
    let mut hash = Fnv::new();
    // Writing into a hash cannot fail.
    _ = write!(hash, "{text}");
    hash.0
}

/// FNV-1a with 32 bits.
struct Fnv(u32);

impl Fnv {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GrowthBook's own test cases, of version 2 of its hash.
    #[test]
    fn it_is_growthbooks_hash() {
        for (seed, key, wanted) in [
            ("seed", "a", 505),
            ("seed", "b", 2696),
            ("foo", "ab", 2575),
            ("foo", "def", 2019),
            ("89123klj", "8952klfjas09ujkasdf", 1240),
            ("90850943850283058242805", "123", 7516),
            ("()**(%$##$%#$#", "___)((*\":&", 128),
        ] {
            assert_eq!(bucket(seed, key), wanted, "{seed} {key}");
        }
    }

    #[test]
    fn keys_are_spread_evenly_and_another_seed_chooses_others() {
        let chosen = |seed: &str| (0..100_000_u64).filter(|key| bucket(seed, key) < 500).collect::<Vec<_>>();
        let (one, other) = (chosen("one"), chosen("other"));
        assert!((4_700..5_300).contains(&one.len()) && (4_700..5_300).contains(&other.len()), "{}", one.len());
        let both = one.iter().filter(|key| other.binary_search(key).is_ok()).count();
        assert!(both < 400, "{both} of {} keys are in both", one.len());
    }
}
