//! The keys of the last requests that were taken. There is no I/O here.
//!
//! Requests are numbered in the order in which they were taken, which is that in which they are handed out and committed. So two
//! numbers say of each request where it is. Keys are kept as hashes; one that is taken for another one by chance leads to 422 and
//! never to a loss, since the fingerprint of the body differs.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::records::Form;

/// The key of a request, and what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// A hash of the text that the caller has chosen.
    pub(super) id: u64,
    /// A hash of the body.
    pub(super) fingerprint: u64,
}

impl Key {
    /// Returns the key `name` of a request. Checkpoints have it, so it must stay the same.
    pub(super) fn of(name: &str, form: Form, body: &[u8]) -> Self {
        let form = match form {
            Form::Json => b'j',
            Form::Lines => b'l',
        };
        let hash = |hash: Sha256| hash.finalize().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        let id = hash(Sha256::new().chain_update(name));
        Self { id, fingerprint: hash(Sha256::new().chain_update([form]).chain_update(body)) }
    }
}

/// A request that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: Key,
    pub(super) records: u32,
    /// When it was taken, in seconds since the Unix epoch.
    pub(super) seconds: u32,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Another body came under this key.
    OtherBody,
    /// The request of this number, with so many records.
    Same(u64, u32),
}

/// The last requests that had a key.
#[derive(Debug)]
pub(super) struct Window {
    by_number: BTreeMap<u64, Known>,
    of_id: HashMap<u64, u64>,
    /// Maximum number of keys of committed requests.
    limit: usize,
    age: Duration,
}

impl Window {
    pub(super) fn new(limit: usize, age: Duration) -> Self {
        Self { by_number: BTreeMap::new(), of_id: HashMap::new(), limit, age }
    }

    pub(super) fn find(&self, key: Key) -> Found {
        let number = self.of_id.get(&key.id);
        match number.and_then(|number| Some((number, self.by_number.get(number)?))) {
            None => Found::Nothing,
            Some((number, known)) if known.key.fingerprint == key.fingerprint => Found::Same(*number, known.records),
            Some(_) => Found::OtherBody,
        }
    }

    /// Notes the request of this number, the highest so far.
    pub(super) fn insert(&mut self, number: u64, known: Known) {
        self.of_id.insert(known.key.id, number);
        self.by_number.insert(number, known);
    }

    /// Returns the requests before this number, the oldest first.
    pub(super) fn before(&self, number: u64) -> impl Iterator<Item = &Known> {
        self.by_number.range(..number).map(|(_, known)| known)
    }

    /// Forgets committed requests, which are those before number `committed`, that are too many or too old.
    pub(super) fn forget(&mut self, committed: u64, now_seconds: u32) {
        let oldest = u64::from(now_seconds).saturating_sub(self.age.as_secs());
        while let Some(first) = self.by_number.first_entry()
            && *first.key() < committed
            && (self.of_id.len() > self.limit || u64::from(first.get().seconds) < oldest)
        {
            let known = first.remove();
            self.of_id.remove(&known.key.id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, seconds: u32) -> Known {
        Known { key: Key::of(name, Form::Json, b"7"), records: 1, seconds }
    }

    #[test]
    fn a_key_is_known_with_its_body_until_others_push_it_out_or_it_is_too_old() {
        let mut window = Window::new(2, Duration::from_secs(10));
        for (number, name) in [(0, "a"), (2, "b"), (3, "c")] {
            assert_eq!(window.find(known(name, 5).key), Found::Nothing);
            window.insert(number, known(name, 5));
        }
        assert_eq!(window.find(Key::of("b", Form::Json, b"7")), Found::Same(2, 1));
        assert_eq!(window.find(Key::of("b", Form::Json, b"8")), Found::OtherBody);
        assert_eq!(window.find(Key::of("b", Form::Lines, b"7")), Found::OtherBody);
        window.forget(0, 5);
        assert_eq!(window.len(), 3, "what is not committed is not forgotten");
        window.forget(4, 5);
        assert_eq!((window.find(known("a", 5).key), window.len()), (Found::Nothing, 2));
        window.forget(3, 16);
        assert_eq!(
            (window.find(known("b", 5).key), window.find(known("c", 5).key)),
            (Found::Nothing, Found::Same(3, 1))
        );
    }

    #[test]
    fn keys_stay_the_same_in_all_versions() {
        let key = Key::of("6c1f0a83", Form::Lines, b"{\"n\":1}\n");
        assert_eq!(key, Key { id: 5_314_519_715_364_034_086, fingerprint: 16_921_735_732_857_153_325 });
    }
}
