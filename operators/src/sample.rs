//! Samples: a fraction of the keys, which is the same in every replay.

use std::hash::Hash;

use tidemill_engine::{Data, Stream};
use tidemill_state::hash_key;

/// Adds sampling to streams.
pub trait SampleExt<'s, D: Data> {
    /// Keeps all records of about this fraction (0 to 1) of the keys. For a sample of records, use a key that is
    /// different for each record.
    #[must_use]
    fn sample<K: Hash>(self, fraction: f64, key: impl Fn(&D) -> K + 'static) -> Stream<'s, D>;
}

impl<'s, D: Data> SampleExt<'s, D> for Stream<'s, D> {
    fn sample<K: Hash>(self, fraction: f64, key: impl Fn(&D) -> K + 'static) -> Stream<'s, D> {
        self.filter(move |record| in_sample(fraction, &key(record)))
    }
}

/// Returns whether a key is in the sample of this fraction. A key in a smaller sample is also in each larger one.
pub fn in_sample<K: Hash + ?Sized>(fraction: f64, key: &K) -> bool {
    // This is not the hash that places keys on workers: with that one, all keys of a sample would be on the first
    // workers.
    let hash = hash_key(&("sample", key));
    hash as f64 / 2_f64.powi(64) < fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_fraction_of_the_keys_and_smaller_ones_are_in_it() {
        let sample = |fraction: f64| (0..100_000_u32).filter(move |key| in_sample(fraction, key)).collect::<Vec<_>>();
        let (tenth, third) = (sample(0.1), sample(1.0 / 3.0));
        assert!((9_700..10_300).contains(&tenth.len()) && (32_900..33_800).contains(&third.len()), "{}", tenth.len());
        assert!(tenth.iter().all(|key| third.contains(key)));
        assert!(sample(0.0).is_empty() && sample(1.0).len() == 100_000 && sample(f64::NAN).is_empty());
    }
}
