//! Loading the entries of the keys that are needed next, all in one read.

use std::borrow::Cow;
use std::sync::Arc;

use super::HotTable;
use super::load::Loading;
use crate::codec;
use crate::error::StateError;
use crate::hot::entry::Entry;
use crate::key::{Key, hash_key};

/// The row key of an entry that is not in memory, and the hash and the key.
type Missing<'k, K> = (Vec<u8>, (u64, &'k K));

impl<K: Key, E: Entry> HotTable<K, E> {
    /// Loads the entries of these keys that are not in memory.
    pub(super) fn load_all(&mut self, keys: &[K]) -> Result<(), StateError> {
        if self.complete || !self.ahead.begin(keys.len()) {
            return Ok(());
        }
        let missing = self.missing(keys)?;
        if missing.is_empty() {
            return Ok(());
        }
        let (rows, found): (Vec<Vec<u8>>, Vec<(u64, &K)>) = missing.into_iter().unzip();
        let mut entries: Vec<Loading<E>> = rows.iter().map(|_| Loading::default()).collect();
        let db = Arc::clone(&self.db);
        let with_whole = |row: &Vec<u8>| [row, E::WHOLE].concat();
        let whole =
            if E::WHOLE.is_empty() { Cow::Borrowed(&rows) } else { Cow::Owned(rows.iter().map(with_whole).collect()) };
        db.get_many(&self.name, &whole, &mut |at, row, value| match entries.get_mut(at) {
            Some(entry) => self.absorb(entry, row, E::WHOLE, value),
            None => Ok(()),
        })?;
        if !E::SINGLE_ROW {
            // The rest are in several rows, or not stored at all.
            let mut others: Vec<_> = entries.iter_mut().zip(&rows).filter(|(entry, _)| entry.entry.is_none()).collect();
            let prefixes: Vec<Vec<u8>> = others.iter().map(|(_, row)| (*row).clone()).collect();
            db.scan_many(&self.name, &prefixes, &mut |at, row, value| match others.get_mut(at) {
                Some((entry, of)) => self.absorb(entry, row, row.get(of.len()..).unwrap_or_default(), value),
                None => Ok(()),
            })?;
        }
        for ((hash, key), entry) in found.into_iter().zip(entries) {
            match entry.entry {
                Some(_) => drop(self.loaded_slot(hash, key.clone(), entry)),
                None => self.ahead.note_absent(hash, key.clone()),
            }
        }
        Ok(())
    }

    /// Returns the row keys of these keys' entries, sorted, as far as an entry is not in memory and may be stored.
    fn missing<'k>(&self, keys: &'k [K]) -> Result<Vec<Missing<'k, K>>, StateError> {
        let mut missing = Vec::new();
        for key in keys {
            let hash = hash_key(key);
            let slot = self.index.find(hash, |slot| self.slots[*slot as usize].as_ref().is_some_and(|s| s.key == *key));
            if slot.is_none() && !self.ahead.is_absent(hash, key) {
                let mut row = Vec::new();
                codec::row_key(self.key_groups.of_hash(hash), key, &mut row).map_err(|e| self.bad_value(&[], &e))?;
                missing.push((row, (hash, key)));
            }
        }
        missing.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        missing.dedup_by(|(a, _), (b, _)| a == b);
        Ok(missing)
    }
}
