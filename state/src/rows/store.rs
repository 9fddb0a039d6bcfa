//! The contract of the stores behind hot state: they keep the rows of each state, in the order of their keys.
//!
//! RocksDB implements it ([`Rocks`](super::rocks::Rocks)), and maps do exactly the same where a job is simulated
//! ([`Maps`](super::maps::Maps)): `tests.rs` makes the same calls on both. It is called at the ends of epochs, in
//! restores, and for entries that are not in memory, but never for a record whose entry is in memory.

use super::figures::RowFigures;
use super::snapshot::RowSnapshot;
use crate::checkpoint::delta::Delta;
use crate::codec::{self, row_too_long};
use crate::error::StateError;
use crate::ids::KeyGroup;

/// A function that gets a row's key and value, and returns whether it wants more rows.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StateError> + 'v;
/// A function that gets a row's key and value, and the index of the row or entry that was asked for.
pub(crate) type VisitOf<'v> = dyn FnMut(usize, &[u8], &[u8]) -> Result<(), StateError> + 'v;
/// A function that puts a row, given its key and value.
pub(crate) type Put<'p> = dyn FnMut(&[u8], &[u8]) -> Result<(), StateError> + 'p;
/// A function that writes the new value of a row, given its key and its old value.
pub(crate) type Renew<'r> = dyn FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<(), StateError> + 'r;

/// A store of the rows of a worker's states. A state that is not known has no rows.
pub(crate) trait RowStore: Send + Sync {
    #[cfg(feature = "rocksdb")]
    /// Returns the names of the known states, in order.
    fn states(&self) -> Vec<String>;

    /// Writes the changes of `delta` in the key groups for which `owned` returns true, and makes its states known. The
    /// delta must have no range whose end is before its start.
    fn apply(&self, delta: &Delta, owned: &dyn Fn(KeyGroup) -> bool) -> Result<(), StateError>;

    /// Visits the rows of a state whose key begins with `prefix`, in order. `prefix` must be empty, or the whole part
    /// of the key that the rows of an entry share ([`entry_of_row`](codec::entry_of_row)).
    fn scan(&self, state: &str, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError>;

    /// Visits the rows of a state in order, from the first whose key is not before `from`.
    fn scan_from(&self, state: &str, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError>;

    /// Returns the value of one row.
    fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Visits these rows, as far as there are any. Their keys must be sorted.
    fn get_many(&self, state: &str, keys: &[Vec<u8>], visit: &mut VisitOf<'_>) -> Result<(), StateError> {
        keys.iter().enumerate().try_for_each(|(at, key)| match self.get(state, key)? {
            Some(value) => visit(at, key, &value),
            None => Ok(()),
        })
    }

    /// Visits the rows of these entries, in order. The prefixes must be sorted, and each as in [`scan`](Self::scan).
    fn scan_many(&self, state: &str, prefixes: &[Vec<u8>], visit: &mut VisitOf<'_>) -> Result<(), StateError> {
        let of_entry = |(at, prefix): (usize, &Vec<u8>)| {
            self.scan(state, prefix, &mut |key, value| visit(at, key, value).map(|()| true))
        };
        prefixes.iter().enumerate().try_for_each(of_entry)
    }

    /// Makes a state known, and puts the rows that `fill` passes on. After an error some of the rows may have been put.
    fn put_rows(
        &self,
        state: &str,
        fill: &mut dyn FnMut(&mut Put<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError>;

    /// Puts each row of the state `from` into the state `to`, with the value that `renew` writes. Makes `to` known;
    /// both may be the same state. Returns the number of rows. After an error some of the rows may have been put.
    fn rewrite(&self, from: &str, to: &str, renew: &mut Renew<'_>) -> Result<u64, StateError>;

    #[cfg(feature = "rocksdb")]
    /// Removes a state and its rows.
    fn remove(&self, state: &str) -> Result<(), StateError>;

    /// Notes that the values of a state with an expiry up to `before` have expired: their rows may be removed at any
    /// time.
    fn expired(&self, state: &str, before: i64);

    /// Takes a snapshot of all rows, which must be as at the end of `epoch`.
    fn snapshot(&self, epoch: u64) -> Result<RowSnapshot, StateError>;

    /// Returns what the store says of itself; `None` if it is not RocksDB.
    fn figures(&self) -> Option<RowFigures> {
        None
    }

    /// Compacts a state, which removes its expired rows.
    #[cfg(test)]
    fn compact(&self, _state: &str) {}
}

/// Returns whether `scan` finds no row.
pub(super) fn finds_none(scan: impl FnOnce(&mut Visit<'_>) -> Result<(), StateError>) -> Result<bool, StateError> {
    let mut none = true;
    scan(&mut |_, _| {
        none = false;
        Ok(false)
    })?;
    Ok(none)
}

/// Refuses a row that is too long to be kept.
pub(super) fn check_row(state: &str, key: &[u8], value: &[u8]) -> Result<(), StateError> {
    row_too_long(key.len(), value.len()).map_or(Ok(()), |reason| {
        Err(StateError::Unwritable { state: state.to_owned(), group: codec::group_of_row(key).0, reason })
    })
}
