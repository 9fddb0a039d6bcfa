//! What stands behind hot state: the rows of each state, in the order of their keys.
//!
//! RocksDB does it ([`Rocks`](super::rocks::Rocks)), and maps do exactly the same where a job is simulated
//! ([`Maps`](super::maps::Maps)): `tests.rs` gives both the same calls. It is called at the ends of epochs, in restores, and
//! for what is not in memory; never for a record whose entry is.

use super::snapshot::RowSnapshot;
use crate::checkpoint::delta::Delta;
use crate::codec::{self, row_too_long};
use crate::error::StateError;
use crate::ids::KeyGroup;

/// Gets a row's key and value. Says whether it wants more.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StateError> + 'v;
/// Puts a row: its key and value.
pub(crate) type Put<'p> = dyn FnMut(&[u8], &[u8]) -> Result<(), StateError> + 'p;
/// Makes the new value of a row from its key and its old value.
pub(crate) type Renew<'r> = dyn FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<(), StateError> + 'r;

/// The rows of a worker's states. A state that is not known has no rows.
pub(crate) trait RowStore: Send + Sync {
    /// Makes a state known.
    fn ensure(&self, state: &str) -> Result<(), StateError>;

    #[cfg(feature = "rocksdb")]
    /// Names the states that are known, in order.
    fn states(&self) -> Vec<String>;

    /// Writes the changes of `delta` in the key groups that `owned` holds for, and makes its states known. The ends of a
    /// range are in order.
    fn apply(&self, delta: &Delta, owned: &dyn Fn(KeyGroup) -> bool) -> Result<(), StateError>;

    /// Visits the rows of a state whose key begins with `prefix`, in order. `prefix` is empty, or all that the rows of an
    /// entry share ([`entry_of_row`](codec::entry_of_row)).
    fn scan(&self, state: &str, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError>;

    /// Returns the value of one row.
    fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Makes a state known, and puts the rows that `fill` gives. Some of them are there when that fails.
    fn put_rows(
        &self,
        state: &str,
        fill: &mut dyn FnMut(&mut Put<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError>;

    /// Puts each row of `from` into `to`, which may be the same state and is known then, with the value that `renew` makes.
    /// Returns the number of rows. Some of them are there when that fails.
    fn rewrite(&self, from: &str, to: &str, renew: &mut Renew<'_>) -> Result<u64, StateError>;

    #[cfg(feature = "rocksdb")]
    /// Forgets a state and its rows.
    fn remove(&self, state: &str) -> Result<(), StateError>;

    /// Values of a state that expire up to `before` have expired: their rows may go, at any time.
    fn expired(&self, state: &str, before: i64);

    /// Takes a snapshot of all rows, as they are at the end of `epoch`.
    fn snapshot(&self, epoch: u64) -> Result<RowSnapshot, StateError>;

    /// Lets go of all that may go now.
    #[cfg(test)]
    fn compact(&self, _state: &str) {}
}

/// Refuses a row that cannot be kept.
pub(super) fn check_row(state: &str, key: &[u8], value: &[u8]) -> Result<(), StateError> {
    row_too_long(key.len(), value.len()).map_or(Ok(()), |reason| {
        Err(StateError::Unwritable { state: state.to_owned(), group: codec::group_of_row(key).0, reason })
    })
}
