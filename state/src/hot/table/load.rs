//! Loading from RocksDB into a table: all entries, at its start or little by little after that, as far as the memory limit
//! allows; and one entry when it is looked up and was not loaded yet.

use std::sync::Arc;

use super::{CLEAN, HotTable};
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::hot::entry::Entry;
use crate::ids::KeyGroup;
use crate::key::Key;

/// An entry whose rows are being read.
pub(super) struct Loading<E> {
    pub(super) entry: Option<E>,
    bytes: usize,
    expires: i64,
}

impl<E> Default for Loading<E> {
    fn default() -> Self {
        Self { entry: None, bytes: 0, expires: i64::MAX }
    }
}

/// The entry at which a scan of all rows is.
struct Current<K, E> {
    /// The part of its rows' keys that they share.
    row: Vec<u8>,
    hash: u64,
    key: K,
    /// `None` if the entry has a slot already.
    loading: Option<Loading<E>>,
}

impl<K: Key, E: Entry> HotTable<K, E> {
    /// Loads entries with about `rows` rows, or more, or all that are left. An entry that has a slot already is newer than
    /// its rows, and stays. Returns whether there is more to load.
    pub(super) fn load_some(&mut self, rows: usize) -> Result<bool, StateError> {
        let Some(from) = self.loading.take() else { return Ok(false) };
        let (db, name) = (Arc::clone(&self.db), self.name.clone());
        let (mut current, mut read) = (None::<Current<K, E>>, 0);
        db.scan_from(&name, &from, |row, value| {
            let same = current.as_ref().is_some_and(|current| row.starts_with(&current.row));
            if !same {
                self.insert_loaded(current.take());
                if read >= rows || self.memory.is_high() {
                    self.loading = Some(row.to_vec());
                    return Ok(false);
                }
                current = Some(self.begin_loading(row)?);
            }
            read += 1;
            if let Some(Current { row: entry, loading: Some(loading), .. }) = &mut current {
                self.absorb(loading, row, row.get(entry.len()..).unwrap_or_default(), value)?;
            }
            Ok(true)
        })?;
        self.insert_loaded(current);
        if self.loading.is_none() {
            self.complete = true;
            self.free_removed();
        } else if self.memory.is_high() {
            self.loading = None;
        }
        Ok(self.loading.is_some())
    }

    /// Frees the slots of entries that were removed while a miss still had to read RocksDB.
    fn free_removed(&mut self) {
        for number in std::mem::take(&mut self.removed_meanwhile) {
            if let Some(Some(slot)) = self.slots.get(number as usize)
                && slot.entry.is_none()
                && slot.dirty_in == CLEAN
            {
                self.forgotten_in = self.forgotten_in.max(slot.sealed_epoch);
                self.forget(number);
            }
        }
    }

    /// Begins with the entry of a row.
    fn begin_loading(&self, row: &[u8]) -> Result<Current<K, E>, StateError> {
        let (_, key, suffix) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
        let key: K = codec::decode(key).map_err(|e| self.bad_value(row, &e))?;
        let (hash, slots) = (crate::key::hash_key(&key), &self.slots);
        let known = self.index.find(hash, |slot| slots[*slot as usize].as_ref().is_some_and(|slot| slot.key == key));
        let loading = known.is_none().then(Loading::default);
        Ok(Current { row: row[..row.len() - suffix.len()].to_vec(), hash, key, loading })
    }

    fn insert_loaded(&mut self, current: Option<Current<K, E>>) {
        if let Some(Current { hash, key, loading: Some(loading), .. }) = current {
            self.loaded_slot(hash, key, loading);
        }
    }

    pub(super) fn absorb(
        &self,
        loading: &mut Loading<E>,
        row: &[u8],
        suffix: &[u8],
        value: &[u8],
    ) -> Result<(), StateError> {
        let body = self.strip_header(value, &mut loading.expires).map_err(|e| self.bad_value(row, &e))?;
        loading.bytes += row.len() + value.len();
        E::absorb(&mut loading.entry, suffix, body).map_err(|e| self.bad_value(row, &e))
    }

    /// Creates the slot of an entry that RocksDB has.
    pub(super) fn loaded_slot(&mut self, hash: u64, key: K, loading: Loading<E>) -> u32 {
        let number = self.new_slot(hash, key, loading.entry);
        if let Some(Some(slot)) = self.slots.get_mut(number as usize) {
            (slot.stored, slot.sealed_epoch, slot.expires) = (true, self.db.applied(), loading.expires);
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.list(number, loading.expires);
        }
        self.account(number, loading.bytes);
        number
    }

    #[cold]
    pub(super) fn load_one(&mut self, hash: u64, key: &K) -> Result<Option<u32>, StateError> {
        if self.ahead.is_absent(hash, key) {
            return Ok(None);
        }
        let mut row = Vec::new();
        codec::row_key(self.key_groups.of_hash(hash), key, &mut row).map_err(|e| self.bad_value(&[], &e))?;
        let mut loading = Loading::default();
        let whole = codec::with_suffix(&mut row, E::WHOLE, |row| self.db.get(&self.name, row))?;
        if let Some(value) = whole {
            self.absorb(&mut loading, &row, E::WHOLE, &value)?;
        } else if !E::SINGLE_ROW {
            let db = Arc::clone(&self.db);
            db.scan(&self.name, &row, |full, value| {
                self.absorb(&mut loading, full, &full[row.len()..], value)?;
                Ok(true)
            })?;
        }
        if loading.entry.is_none() {
            return Ok(None);
        }
        Ok(Some(self.loaded_slot(hash, key.clone(), loading)))
    }

    /// Returns the keys that are stored: all keys of the restored checkpoint, as long as nothing was changed.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn stored_keys(&self) -> Result<Vec<K>, StateError> {
        let (mut keys, mut last) = (Vec::new(), Vec::new());
        self.db.scan(&self.name, &[], |row, _| {
            let (_, key, _) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
            // The rows of an entry come one after the other.
            let entry = codec::entry_of_row(row);
            if last != entry {
                last.clear();
                last.extend_from_slice(entry);
                keys.push(codec::decode(key).map_err(|e| self.bad_value(row, &e))?);
            }
            Ok(true)
        })?;
        Ok(keys)
    }

    fn strip_header<'v>(&self, value: &'v [u8], expires: &mut i64) -> Result<&'v [u8], DecodeError> {
        let short = || DecodeError("it is too short".to_owned());
        let (version, rest) = value.split_first().ok_or_else(short)?;
        if *version != self.spec.version {
            return Err(DecodeError(format!("it is of version {version}, this program reads {}", self.spec.version)));
        }
        if self.spec.ttl.is_none() {
            return Ok(rest);
        }
        let (at, rest) = rest.split_first_chunk().ok_or_else(short)?;
        *expires = i64::from_le_bytes(*at);
        Ok(rest)
    }

    pub(super) fn bad_value(&self, row: &[u8], error: &DecodeError) -> StateError {
        bad_value(&self.name, codec::group_of_row(row), error)
    }
}

fn bad_value(state: &str, group: KeyGroup, error: &DecodeError) -> StateError {
    StateError::Value { state: state.to_owned(), group: group.0, reason: error.0.clone() }
}
