//! The deltas of a restored checkpoint, read on top of the rows of its base.
//!
//! Writing them into RocksDB at a start would take most of the start's time, and nobody needs them there before the
//! next base. So they are sorted by row, and a read looks here first.
//! ```text
//! deltas, in order ─▶ sorted (sorted.rs): one row per key, and ranges in which rows of the base are deleted
//! scan             ─▶ both sorted sequences are merged; a row here replaces the row below
//! ```
//! Invariant: a row of the base is read as it is only if no change here is of its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sorted::{Changes, Place, Sorted, first_groups, sorted};
use super::store::{RowStore, Visit};
use crate::checkpoint::delta::{Delta, Ops};
use crate::codec;
use crate::error::StateError;
use crate::threads;

/// Size of the changes that are merged at a time, about, in bytes; and the most parts, each of which reads all deltas.
const MERGED_BYTES: usize = 16 << 20;
const MOST_PARTS: usize = 8;

/// The changes of restored deltas, by state and row.
pub(super) struct Above {
    /// The deltas, in the order of epochs: the rows refer to their bytes.
    deltas: Vec<Arc<Delta>>,
    states: Sorted,
}

impl Above {
    /// Sorts the changes of these deltas, which are in the order of epochs, with so many threads.
    pub(super) fn new(deltas: Vec<Arc<Delta>>, threads: usize) -> Self {
        let firsts = first_groups(&deltas, threads, threads);
        let mut states = Sorted::new();
        for (state, groups) in threads::share(firsts.len(), |part| sorted(&deltas, &firsts, part)).into_iter().flatten()
        {
            states.entry(state).or_default().extend(groups);
        }
        Self { deltas, states }
    }

    pub(super) fn deltas(&self) -> &[Arc<Delta>] {
        &self.deltas
    }

    /// Returns the value of a row: `None` if nothing here is of its key, and `Some(None)` if the row is deleted.
    pub(super) fn get(&self, state: &str, key: &[u8]) -> Option<Option<&[u8]>> {
        let changes = self.of_group(state, key)?;
        match changes.rows.get(changes.from(key)).filter(|row| changes.key(row) == key) {
            Some(row) => Some(row.value.map(|place| self.value(state, place))),
            None => changes.is_deleted(key).then_some(None),
        }
    }

    /// Returns the changes in the key group of this row, if there are any.
    fn of_group(&self, state: &str, key: &[u8]) -> Option<&Changes> {
        self.states.get(state)?.get(&codec::group_of_row(key).0)
    }

    /// Visits the rows of a state from the key `from` on, as long as their keys begin with `prefix`.
    pub(super) fn scan(
        &self,
        below: &dyn RowStore,
        state: &str,
        (prefix, from): (&[u8], &[u8]),
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        let below_scan = |visit: &mut Visit<'_>| match prefix {
            [] => below.scan_from(state, from, visit),
            _ => below.scan(state, prefix, visit),
        };
        let Some(groups) = self.states.get(state) else { return below_scan(visit) };
        // What is shorter than a key group may begin before all of them.
        let first = if from.len() < size_of::<u16>() { 0 } else { codec::group_of_row(from).0 };
        let rows = groups.range(first..).flat_map(|(_, changes)| {
            let rows = changes.rows.get(changes.from(from)..).unwrap_or_default();
            rows.iter().map(|row| (changes.key(row), row.value))
        });
        let mut rows = rows.take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let is_deleted = |key: &[u8]| self.of_group(state, key).is_some_and(|changes| changes.is_deleted(key));
        let mut more = true;
        below_scan(&mut |key, value| {
            while let Some((above, place)) = rows.next_if(|(above, _)| *above < key) {
                if let Some(place) = place
                    && !visit(above, self.value(state, place))?
                {
                    more = false;
                    return Ok(false);
                }
            }
            more = match rows.next_if(|(above, _)| *above == key) {
                Some((_, Some(place))) => visit(key, self.value(state, place))?,
                Some(_) => true,
                None => is_deleted(key) || visit(key, value)?,
            };
            Ok(more)
        })?;
        while more && let Some((key, place)) = rows.next() {
            if let Some(place) = place {
                more = visit(key, self.value(state, place))?;
            }
        }
        Ok(())
    }

    fn value(&self, state: &str, place: Place) -> &[u8] {
        place.value(&self.deltas, state)
    }
}

/// Returns the changes of a state: those of a key group with ranges first, because the rows are right without them.
fn ops<'c>(
    deltas: &[Arc<Delta>],
    state: &str,
    groups: impl Iterator<Item = &'c Changes>,
    deletes: bool,
) -> Result<Ops, StateError> {
    let mut ops = Ops::default();
    for changes in groups {
        if deletes {
            changes.deleted.iter().for_each(|(from, to)| ops.delete_range(from, to));
        }
        for row in &changes.rows {
            let key = changes.key(row);
            match row.value {
                Some(place) => ops.put(key, place.value(deltas, state)).map_err(|e| StateError::Unwritable {
                    state: state.to_owned(),
                    group: codec::group_of_row(key).0,
                    reason: e.0,
                })?,
                None if deletes => ops.delete(key),
                None => {}
            }
        }
    }
    Ok(ops)
}

/// Calls `apply` with deltas that together change the same rows as these, which are in the order of epochs: each has the
/// changes of some key groups, one per row and in the order of rows. What was written and deleted again is not written,
/// and where `is_empty` says that a state has no rows yet, nothing is deleted.
pub(super) fn merge(
    deltas: &[Arc<Delta>],
    is_empty: impl Fn(&str) -> Result<bool, StateError>,
    mut apply: impl FnMut(&Delta) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let Some(last) = deltas.last() else { return Ok(()) };
    let mut empty = BTreeMap::new();
    let mut bytes = 0;
    for (state, ops) in deltas.iter().flat_map(|delta| delta.sections()) {
        bytes += ops.as_slice().len();
        if !empty.contains_key(state) {
            empty.insert(state, is_empty(state)?);
        }
    }
    let firsts = first_groups(deltas, (bytes / MERGED_BYTES + 1).min(MOST_PARTS), 1);
    for part in 0..firsts.len() {
        let of_part = sorted(deltas, &firsts, part);
        let mut merged = Delta::new(last.epoch(), 0);
        for (state, groups) in &of_part {
            let deletes = empty.get(state.as_str()).is_none_or(|empty| !empty);
            merged.set_section(state.clone(), ops(deltas, state, groups.values(), deletes)?);
        }
        apply(&merged)?;
    }
    Ok(())
}
