//! What a restore writes into RocksDB besides deltas: rows of other workers, under other names, in a newer version.

use rocksdb::{DB, WriteBatch};

use super::db::{Content, Db, MAX_BATCH_BYTES, without_log};
use crate::codec::{self, row_too_long};
use crate::error::StateError;
use crate::locks;

impl Db {
    /// Writes rows of another RocksDB that `owned` holds for, each state under the name that `name` gives it, or not at
    /// all: part of a restore with another number of workers.
    pub(crate) fn copy_from(
        &self,
        other: &Self,
        owned: impl Fn(u16) -> bool,
        name: impl Fn(&str) -> Option<String>,
    ) -> Result<(), StateError> {
        for state in other.families()? {
            if let Some(new) = name(&state) {
                self.write_rows(&new, |write| {
                    other.scan(&state, &[], |key, value| {
                        if owned(codec::group_of_row(key)) {
                            write.put(key, value)?;
                        }
                        Ok(true)
                    })
                })?;
            }
        }
        Ok(())
    }

    /// Gives each state the name that `name` has for it, or drops it: part of a restore by a program with other names.
    pub(crate) fn rename(&self, name: impl Fn(&str) -> Option<String>) -> Result<(), StateError> {
        for state in self.families()? {
            let new = name(&state);
            if new.as_deref() == Some(&state) {
                continue;
            }
            if let Some(new) = new {
                self.write_rows(&new, |write| {
                    self.scan_in(write.rocks, &state, &[], |key, value| write.put(key, value).map(|()| true))
                })?;
            }
            let Content::Rocks(rocks, _) = &self.content else { return Ok(()) };
            let mut rocks = locks::write(rocks);
            rocks.drop_cf(&state).map_err(self.error("drop a column family"))?;
        }
        Ok(())
    }

    /// Writes every row of a state anew: `value` makes its new value of key and old value. Returns how many rows it has.
    pub(crate) fn rewrite(
        &self,
        state: &str,
        mut value: impl FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<u64, StateError> {
        if let Content::Maps(maps) = &self.content {
            return locks::write(maps).rewrite(state, value);
        }
        let (mut rows, mut new) = (0, Vec::new());
        self.write_rows(state, |write| {
            // The scan sees the rows as they were when it began.
            self.scan_in(write.rocks, state, &[], |key, old| {
                new.clear();
                value(key, old, &mut new)?;
                rows += 1;
                write.put(key, &new).map(|()| true)
            })
        })?;
        Ok(rows)
    }

    /// Whether a state has no rows.
    pub(crate) fn is_empty(&self, state: &str) -> Result<bool, StateError> {
        let mut empty = true;
        self.scan(state, &[], |_, _| {
            empty = false;
            Ok(false)
        })?;
        Ok(empty)
    }

    /// Has `fill` put rows of a state, which are written in batches. Of RocksDB alone: in a simulation deltas are all
    /// there is to restore from.
    fn write_rows(
        &self,
        state: &str,
        fill: impl FnOnce(&mut RowWriter<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.ensure_family(state)?;
        let Content::Rocks(rocks, _) = &self.content else { return Ok(()) };
        let rocks = locks::read(rocks);
        let mut writer = RowWriter { db: self, rocks: &rocks, state, batch: WriteBatch::default() };
        fill(&mut writer)?;
        writer.flush()
    }
}

/// Rows of one state on their way into RocksDB.
struct RowWriter<'a> {
    db: &'a Db,
    rocks: &'a DB,
    state: &'a str,
    batch: WriteBatch,
}

impl RowWriter<'_> {
    const ROWS_PER_BATCH: usize = 10_000;

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        if let Some(reason) = row_too_long(key.len(), value.len()) {
            let (state, group) = (self.state.to_owned(), codec::group_of_row(key));
            return Err(StateError::Unwritable { state, group, reason });
        }
        if let Some(family) = self.rocks.cf_handle(self.state) {
            self.batch.put_cf(&family, key, value);
        }
        if self.batch.len() >= Self::ROWS_PER_BATCH || self.batch.size_in_bytes() >= MAX_BATCH_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), StateError> {
        self.rocks.write_opt(std::mem::take(&mut self.batch), &without_log()).map_err(self.db.error("write"))
    }
}
