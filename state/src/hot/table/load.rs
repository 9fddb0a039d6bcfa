//! Loading from RocksDB into a table: all entries at its start, as far as the memory limit allows, and one entry when
//! it is looked up.

use std::sync::Arc;

use super::HotTable;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::hot::entry::Entry;
use crate::ids::KeyGroup;
use crate::key::Key;

/// An entry whose rows are being read.
struct Loading<E> {
    entry: Option<E>,
    bytes: usize,
    expires: i64,
}

impl<K: Key, E: Entry> HotTable<K, E> {
    pub(super) fn load_all(&mut self) -> Result<(), StateError> {
        let db = Arc::clone(&self.db);
        let mut current: Option<(Vec<u8>, Loading<E>)> = None;
        db.scan(&self.name.clone(), &[], |row, value| {
            let (_, key, suffix) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
            let same = current.as_ref().is_some_and(|(known, _)| row.starts_with(known));
            if !same {
                if let Some((row, loading)) = current.take() {
                    self.insert_loaded(&row, loading)?;
                }
                if self.memory.is_high() {
                    self.complete = false;
                    return Ok(false);
                }
                let prefix = row[..6 + key.len()].to_vec();
                current = Some((prefix, Loading { entry: None, bytes: 0, expires: i64::MAX }));
            }
            if let Some((_, loading)) = &mut current {
                self.absorb(loading, row, suffix, value)?;
            }
            Ok(true)
        })?;
        if let Some((row, loading)) = current {
            self.insert_loaded(&row, loading)?;
        }
        Ok(())
    }

    fn absorb(&self, loading: &mut Loading<E>, row: &[u8], suffix: &[u8], value: &[u8]) -> Result<(), StateError> {
        let body = self.strip_header(value, &mut loading.expires).map_err(|e| self.bad_value(row, &e))?;
        loading.bytes += row.len() + value.len();
        E::absorb(&mut loading.entry, suffix, body).map_err(|e| self.bad_value(row, &e))
    }

    fn insert_loaded(&mut self, row: &[u8], loading: Loading<E>) -> Result<(), StateError> {
        let (_, key, _) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
        let key: K = codec::decode(key).map_err(|e| self.bad_value(row, &e))?;
        let hash = crate::key::hash_key(&key);
        self.loaded_slot(hash, key, loading);
        Ok(())
    }

    /// Creates the slot of an entry that RocksDB has.
    fn loaded_slot(&mut self, hash: u64, key: K, loading: Loading<E>) -> u32 {
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
        let mut row = Vec::new();
        codec::row_key(self.key_groups.of_hash(hash), key, &mut row).map_err(|e| self.bad_value(&[], &e))?;
        let mut loading = Loading { entry: None, bytes: 0, expires: i64::MAX };
        if E::SINGLE_ROW {
            if let Some(value) = self.db.get(&self.name, &row)? {
                self.absorb(&mut loading, &row, &[], &value)?;
            }
        } else {
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

    fn bad_value(&self, row: &[u8], error: &DecodeError) -> StateError {
        bad_value(&self.name, codec::group_of_row(row), error)
    }
}

fn bad_value(state: &str, group: KeyGroup, error: &DecodeError) -> StateError {
    StateError::Value { state: state.to_owned(), group: group.0, reason: error.0.clone() }
}
