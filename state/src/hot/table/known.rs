//! What a table knows about the keys that it read ahead.

use hashbrown::HashTable;

use crate::key::Key;

/// What a table knows about the keys that it read ahead.
pub(super) struct Ahead<K> {
    /// Keys that RocksDB does not have, so that they are not read again when they are looked up. A slot of such a key may
    /// be created, but once one is evicted, RocksDB has rows of it: so an eviction clears this.
    absent: HashTable<(u64, K)>,
    /// Number of lookups since the last call, and the number of keys that it was called with.
    pub(super) asked: usize,
    of: usize,
}

impl<K> Default for Ahead<K> {
    fn default() -> Self {
        Self { absent: HashTable::new(), asked: 0, of: 0 }
    }
}

impl<K: Key> Ahead<K> {
    /// Number of absent keys that are kept, about.
    const MOST_ABSENT: usize = 4096;

    pub(super) fn is_absent(&self, hash: u64, key: &K) -> bool {
        self.absent.find(hash, |(_, absent)| absent == key).is_some()
    }

    /// Forgets which keys are absent.
    pub(super) fn forget(&mut self) {
        self.absent.clear();
    }

    pub(super) fn note_absent(&mut self, hash: u64, key: K) {
        self.absent.insert_unique(hash, (hash, key), |(hash, _)| *hash);
    }

    /// Begins a read ahead for this number of keys. Returns whether it is worth while.
    pub(super) fn begin(&mut self, keys: usize) -> bool {
        let (asked, of) = (std::mem::take(&mut self.asked), std::mem::replace(&mut self.of, keys));
        if self.absent.len() > Self::MOST_ABSENT {
            self.forget();
        }
        asked >= of / 2
    }
}
