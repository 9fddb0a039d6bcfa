//! Moving rows when a restore starts from bases that RocksDB wrote: rows of other workers, and rows under other names.

use super::db::Db;
use super::store::Renew;
use crate::codec;
use crate::error::StateError;
use crate::ids::KeyGroup;

impl Db {
    /// Copies rows of another worker, in the key groups for which `owned` returns true. Each state gets the name that
    /// `name` returns, or is left out if that is `None`. Part of a restore with another number of workers.
    pub(crate) fn copy_from(
        &self,
        other: &Self,
        owned: impl Fn(KeyGroup) -> bool,
        name: impl Fn(&str) -> Option<String>,
    ) -> Result<(), StateError> {
        for state in other.rows.states() {
            if let Some(new) = name(&state) {
                self.rows.put_rows(&new, &mut |put| {
                    other.rows.scan(&state, &[], &mut |key, value| {
                        if owned(codec::group_of_row(key)) {
                            put(key, value)?;
                        }
                        Ok(true)
                    })
                })?;
            }
        }
        Ok(())
    }

    /// Renames each state to what `name` returns, or removes it if that is `None`. Part of a restore by a program with
    /// other names.
    pub(crate) fn rename(&self, name: impl Fn(&str) -> Option<String>) -> Result<(), StateError> {
        let as_it_is: &mut Renew<'_> = &mut |_, value, new| {
            new.extend_from_slice(value);
            Ok(())
        };
        for state in self.rows.states() {
            let new = name(&state);
            if new.as_deref() == Some(&state) {
                continue;
            }
            if let Some(new) = new {
                self.rows.rewrite(&state, &new, as_it_is)?;
            }
            self.rows.remove(&state)?;
        }
        Ok(())
    }
}
