//! Rows in sorted maps, which replace RocksDB in a job that is simulated or built without RocksDB. They open at no
//! cost.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::RwLock;

use super::snapshot::RowSnapshot;
use super::store::{Put, Renew, RowStore, Visit, check_row};
use crate::checkpoint::delta::{Delta, Op, Ops};
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::ids::KeyGroup;
use crate::locks;

/// The rows of one state.
type SortedRows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The rows of all states of a worker, by the state's name.
#[derive(Debug, Default)]
pub(crate) struct Maps(RwLock<BTreeMap<String, SortedRows>>);

impl RowStore for Maps {
    #[cfg(feature = "rocksdb")]
    fn states(&self) -> Vec<String> {
        locks::read(&self.0).keys().cloned().collect()
    }

    fn apply(&self, delta: &Delta, owned: &dyn Fn(KeyGroup) -> bool) -> Result<(), StateError> {
        let mut maps = locks::write(&self.0);
        for (state, ops) in delta.sections() {
            let rows = maps.entry(state.to_owned()).or_default();
            let ops = ops.iter().flatten().filter(|op| owned(codec::group_of_row(op.key())));
            ops.for_each(|op| change(rows, op));
        }
        Ok(())
    }

    fn scan(&self, state: &str, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        self.scan_from(state, prefix, &mut |key, value| Ok(key.starts_with(prefix) && visit(key, value)?))
    }

    fn scan_from(&self, state: &str, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        let maps = locks::read(&self.0);
        let Some(rows) = maps.get(state) else { return Ok(()) };
        for (key, value) in rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(locks::read(&self.0).get(state).and_then(|rows| rows.get(key)).cloned())
    }

    fn put_rows(
        &self,
        state: &str,
        fill: &mut dyn FnMut(&mut Put<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        // `fill` may scan this store itself, so all rows are collected before the first is put.
        let mut new = SortedRows::new();
        let filled = fill(&mut |key, value| {
            check_row(state, key, value)?;
            new.insert(key.to_vec(), value.to_vec());
            Ok(())
        });
        locks::write(&self.0).entry(state.to_owned()).or_default().extend(new);
        filled
    }

    fn rewrite(&self, from: &str, to: &str, renew: &mut Renew<'_>) -> Result<u64, StateError> {
        let mut rows = 0;
        self.put_rows(to, &mut |put| {
            let mut new = Vec::new();
            self.scan(from, &[], &mut |key, old| {
                new.clear();
                renew(key, old, &mut new)?;
                rows += 1;
                put(key, &new).map(|()| true)
            })
        })?;
        Ok(rows)
    }

    #[cfg(feature = "rocksdb")]
    fn remove(&self, state: &str) -> Result<(), StateError> {
        locks::write(&self.0).remove(state);
        Ok(())
    }

    /// Does nothing, so expired rows stay: a table ignores expired entries, and removes those that it has loaded.
    fn expired(&self, _state: &str, _before: i64) {}

    fn snapshot(&self, epoch: u64) -> Result<RowSnapshot, StateError> {
        let mut delta = Delta::new(epoch, 0);
        for (state, rows) in &*locks::read(&self.0) {
            delta.set_section(state.clone(), puts(state, rows)?);
        }
        Ok(RowSnapshot::of_rows(delta))
    }
}

fn change(rows: &mut SortedRows, op: Op<'_>) {
    match op {
        Op::Put { key, value } => drop(rows.insert(key.to_vec(), value.to_vec())),
        Op::Delete { key } => drop(rows.remove(key)),
        Op::DeleteRange { from, to } => rows.retain(|row, _| row.as_slice() < from || row.as_slice() >= to),
        Op::PutElements { row, from, values } => {
            let mut row = row.to_vec();
            for (element, value) in (from..).zip(values) {
                codec::with_sequence(&mut row, element, |row| drop(rows.insert(row.to_vec(), value.to_vec())));
            }
        }
        Op::DeleteElements { row, from, to } => {
            let mut row = row.to_vec();
            for element in from..to {
                codec::with_sequence(&mut row, element, |row| drop(rows.remove(row)));
            }
        }
    }
}

/// Returns the changes that create these rows in an empty state.
fn puts(state: &str, rows: &SortedRows) -> Result<Ops, StateError> {
    let mut ops = Ops::default();
    for (key, value) in rows {
        let unwritable = |e: DecodeError| StateError::Unwritable {
            state: state.to_owned(),
            group: codec::group_of_row(key).0,
            reason: e.0,
        };
        ops.put(key, value).map_err(unwritable)?;
    }
    Ok(ops)
}
