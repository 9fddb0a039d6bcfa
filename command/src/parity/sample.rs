//! Which keys are compared. The choice depends on the key alone, so every run and both sides have the same ones, and a
//! larger share has all keys of a smaller one.

use crate::args::parity::Share;

impl Share {
    /// Returns whether a key is in the share: whether its hash, as a fraction of 2^64, is below it.
    pub fn takes(self, key: &str) -> bool {
        // 2^64 as a float; the product of a share below 1 fits, because the cast saturates.
        self.0 >= 1.0 || of_text(key) < (self.0 * 18_446_744_073_709_551_616.0) as u64
    }
}

/// Returns the hash of a text: 64-bit FNV-1a, mixed by the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). It
/// must never change, or two runs would compare different keys; the fast hashes among the dependencies do not promise that.
fn of_text(text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_about_as_large_as_it_says_and_part_of_each_larger_one() {
        let keys: Vec<String> = (0..100_000).map(|key| key.to_string()).collect();
        let count = |share: f64| keys.iter().filter(|key| Share(share).takes(key)).count();
        assert_eq!(count(1.0), keys.len());
        assert!((900..1100).contains(&count(0.01)), "{}", count(0.01));
        assert!((49_500..50_500).contains(&count(0.5)), "{}", count(0.5));
        assert!(keys.iter().all(|key| !Share(0.01).takes(key) || Share(0.02).takes(key)));
    }

    #[test]
    fn the_hash_never_changes() {
        // Computed by another program, in Python.
        assert_eq!(of_text(""), 0xf52a_15e9_a9b5_e89b);
        let taken: Vec<u32> = (0..200).filter(|key: &u32| Share(0.05).takes(&key.to_string())).collect();
        assert_eq!(taken, [48, 81, 104, 110, 151, 167, 199]);
    }
}
