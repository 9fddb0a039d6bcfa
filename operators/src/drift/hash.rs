//! A hash that never changes: what it selects is stored in baselines and checkpoints.

/// Mixes the bits of a number, so that each one depends on all (the finalizer of SplitMix64; Steele, Lea, Flood, OOPSLA
/// 2014). Different numbers stay different.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The step from one state of SplitMix64 to the next.
pub(super) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the hash of a number: what SplitMix64 draws first with this seed.
pub(super) fn of_number(number: u64) -> u64 {
    mix(number.wrapping_add(STEP))
}

/// Returns the hash of a record, by its event time and score.
pub(crate) fn of_record(time: i64, score: f64) -> u64 {
    of_number(of_number(time as u64) ^ score.to_bits())
}

/// Returns the hash of a name: 64-bit FNV-1a, mixed.
pub(super) fn of_name(name: &str) -> u64 {
    mix(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

/// A generator of random numbers that is stored with what uses it (SplitMix64).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `bound`, or 0 if the bound is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let drawn = of_number(self.0);
        self.0 = self.0.wrapping_add(STEP);
        // The upper half of a product: the bias is below bound / 2^64.
        ((u128::from(drawn) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_random_numbers_are_the_published_ones() {
        // The first output of SplitMix64 for seed 0, as in Java's SplittableRandom.
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        assert_eq!(of_name(""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(of_name("a"), mix(0xaf63_dc4c_8601_ec8c));
    }

    #[test]
    fn random_numbers_cover_their_range() {
        let mut random = Random::new(7);
        let mut seen = [0; 5];
        (0..5000).for_each(|_| seen[random.below(5)] += 1);
        assert!(seen.iter().all(|count| (900..1100).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
