//! The deltas of a restored checkpoint, read on top of the rows of its base.
//!
//! Writing them into RocksDB at a start would take most of the start's time, and nobody needs them there before the
//! next base. So they are sorted by row, and a read looks here first.
//! ```text
//! deltas, in order ─▶ one row per key (the last change of it), and ranges in which rows of the base are deleted; by
//!                     several threads, each for some key groups
//! scan              ─▶ both sorted sequences are merged; a row here replaces the row below
//! ```
//! Invariant: a row of the base is read as it is only if no change here is of its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::{RowStore, Visit};
use crate::checkpoint::delta::{Delta, Op, Ops};
use crate::codec;
use crate::error::StateError;
use crate::ids::KeyGroup;
use crate::threads;

/// Of this many changes one is looked at, to find out how many each key group has.
const LOOKED_AT: usize = 16;
/// Size of the changes that are merged at a time, about, in bytes; and the most parts, each of which reads all deltas.
const MERGED_BYTES: usize = 16 << 20;
const MOST_PARTS: usize = 8;

/// The changes of restored deltas, by state and row.
pub(super) struct Above {
    /// The deltas, in the order of epochs: the rows refer to their bytes.
    deltas: Vec<Arc<Delta>>,
    states: BTreeMap<String, Changes>,
}

/// The changes of one state, with one row per key, in the order of keys.
#[derive(Default)]
struct Changes {
    keys: Vec<u8>,
    rows: Vec<Row>,
    /// Ranges of deleted rows, which do not overlap. The rows in `rows` are right without them.
    deleted: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A row: its key in `keys`, and its value.
#[derive(Clone, Copy)]
struct Row {
    /// The first bytes of the key, so that most comparisons need not read the key.
    first: u128,
    at: usize,
    len: u32,
    /// Number of changes before this one.
    order: u32,
    /// The value; `None` if the row is deleted.
    value: Option<Place>,
}

/// A value within the section of a delta.
#[derive(Clone, Copy)]
struct Place {
    delta: u32,
    len: u32,
    at: usize,
}

impl Above {
    /// Sorts the changes of these deltas, which are in the order of epochs, with so many threads.
    pub(super) fn new(deltas: Vec<Arc<Delta>>, threads: usize) -> Self {
        let firsts = first_groups(&deltas, threads);
        let sorted = threads::share(firsts.len(), |part| sorted(&deltas, &firsts, part));
        let mut states = BTreeMap::<String, Changes>::new();
        for (state, changes) in sorted.into_iter().flatten() {
            states.entry(state).or_default().append(changes);
        }
        Self { deltas, states }
    }

    pub(super) fn deltas(&self) -> &[Arc<Delta>] {
        &self.deltas
    }

    /// Returns the value of a row: `None` if nothing here is of its key, and `Some(None)` if the row is deleted.
    pub(super) fn get(&self, state: &str, key: &[u8]) -> Option<Option<&[u8]>> {
        let changes = self.states.get(state)?;
        match changes.rows.get(changes.from(key)).filter(|row| changes.key(row) == key) {
            Some(row) => Some(row.value.map(|place| self.value(state, place))),
            None => changes.is_deleted(key).then_some(None),
        }
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
        let Some(changes) = self.states.get(state) else { return below_scan(visit) };
        let end = |row: &Row| !changes.key(row).starts_with(prefix);
        let mut rows = changes.rows.get(changes.from(from)..).unwrap_or_default().iter().copied().peekable();
        let mut more = true;
        below_scan(&mut |key, value| {
            while let Some(row) = rows.next_if(|row| changes.key(row) < key && !end(row)) {
                if let Some(place) = row.value
                    && !visit(changes.key(&row), self.value(state, place))?
                {
                    more = false;
                    return Ok(false);
                }
            }
            more = match rows.next_if(|row| changes.key(row) == key) {
                Some(Row { value: Some(place), .. }) => visit(key, self.value(state, place))?,
                Some(_) => true,
                None => changes.is_deleted(key) || visit(key, value)?,
            };
            Ok(more)
        })?;
        while more && let Some(row) = rows.next_if(|row| !end(row)) {
            if let Some(place) = row.value {
                more = visit(changes.key(&row), self.value(state, place))?;
            }
        }
        Ok(())
    }

    /// Returns the changes of a state: ranges first, because the rows are right without them.
    fn ops(&self, state: &str, changes: &Changes, deletes: bool) -> Result<Ops, StateError> {
        let mut ops = Ops::default();
        if deletes {
            changes.deleted.iter().for_each(|(from, to)| ops.delete_range(from, to));
        }
        for row in &changes.rows {
            let key = changes.key(row);
            match row.value {
                Some(place) => ops.put(key, self.value(state, place)).map_err(|e| StateError::Unwritable {
                    state: state.to_owned(),
                    group: codec::group_of_row(key).0,
                    reason: e.0,
                })?,
                None if deletes => ops.delete(key),
                None => {}
            }
        }
        Ok(ops)
    }

    fn value(&self, state: &str, place: Place) -> &[u8] {
        let Place { delta, at, len } = place;
        let section = self.deltas.get(delta as usize).and_then(|delta| delta.section_bytes(state)).unwrap_or_default();
        section.get(at..at + len as usize).unwrap_or_default()
    }
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
    let firsts = first_groups(deltas, (bytes / MERGED_BYTES + 1).min(MOST_PARTS));
    for part in 0..firsts.len() {
        let states = sorted(deltas, &firsts, part);
        let part = Above { deltas: deltas.to_vec(), states };
        let mut merged = Delta::new(last.epoch(), 0);
        for (state, changes) in &part.states {
            let deletes = empty.get(state.as_str()).is_none_or(|empty| !empty);
            merged.set_section(state.clone(), part.ops(state, changes, deletes)?);
        }
        apply(&merged)?;
    }
    Ok(())
}

/// Returns the changes of one part of the key groups, by state: of those from its first group to that of the next part.
fn sorted(deltas: &[Arc<Delta>], firsts: &[u16], part: usize) -> BTreeMap<String, Changes> {
    let (first, end) = (firsts.get(part), firsts.get(part + 1));
    let ours = |group: KeyGroup| first <= Some(&group.0) && end.is_none_or(|end| group.0 < *end);
    let mut states = BTreeMap::<String, Collected>::new();
    for (number, delta) in deltas.iter().enumerate() {
        for (state, ops) in delta.sections() {
            states.entry(state.to_owned()).or_default().add(number as u32, ops, ours);
        }
    }
    states.into_iter().map(|(state, collected)| (state, collected.sorted())).collect()
}

/// Returns the first key group of each of so many parts, so that all have about as many changes. They begin with the first
/// one that there may be.
fn first_groups(deltas: &[Arc<Delta>], parts: usize) -> Vec<u16> {
    let ops = deltas.iter().flat_map(|delta| delta.sections()).flat_map(|(_, ops)| ops.iter().flatten());
    let mut groups: Vec<u16> = match parts {
        0 | 1 => Vec::new(),
        _ => ops.step_by(LOOKED_AT).map(|op| codec::group_of_row(op.key()).0).collect(),
    };
    groups.sort_unstable();
    let mut firsts = vec![0];
    firsts.extend((1..parts).filter_map(|part| groups.get(part * groups.len() / parts).copied()));
    firsts.dedup();
    firsts
}

impl Changes {
    /// Adds the changes of later key groups.
    fn append(&mut self, later: Self) {
        let Self { keys, rows, deleted } = later;
        if self.rows.is_empty() && self.deleted.is_empty() {
            *self = Self { keys, rows, deleted };
            return;
        }
        let before = self.keys.len();
        self.keys.extend(keys);
        self.rows.extend(rows.into_iter().map(|row| Row { at: before + row.at, ..row }));
        self.deleted.extend(deleted);
    }

    fn key(&self, row: &Row) -> &[u8] {
        key_in(&self.keys, row)
    }

    /// Returns the index of the first row whose key is not before `key`.
    fn from(&self, key: &[u8]) -> usize {
        self.rows.partition_point(|row| self.key(row) < key)
    }

    fn is_deleted(&self, key: &[u8]) -> bool {
        let after = self.deleted.partition_point(|(from, _)| from.as_slice() <= key);
        after.checked_sub(1).and_then(|last| self.deleted.get(last)).is_some_and(|(_, to)| key < to.as_slice())
    }
}

fn key_in<'k>(keys: &'k [u8], row: &Row) -> &'k [u8] {
    keys.get(row.at..row.at + row.len as usize).unwrap_or_default()
}

/// The changes of one state while they are collected: in the order in which they were made.
#[derive(Default)]
struct Collected {
    keys: Vec<u8>,
    rows: Vec<Row>,
    /// Ranges of deleted rows, each with the number of changes before it.
    ranges: Vec<(Vec<u8>, Vec<u8>, u32)>,
    order: u32,
}

impl Collected {
    /// Adds the changes of some key groups. A range of rows lies in one group.
    fn add(&mut self, delta: u32, ops: &Ops, ours: impl Fn(KeyGroup) -> bool) {
        let start = ops.as_slice().as_ptr() as usize;
        let place = |value: &[u8]| Place { delta, at: value.as_ptr() as usize - start, len: value.len() as u32 };
        // A delta is read only if all of its changes can be read.
        for op in ops.iter().flatten().filter(|op| ours(codec::group_of_row(op.key()))) {
            match op {
                Op::Put { key, value } => self.row(key, Some(place(value))),
                Op::Delete { key } => self.row(key, None),
                Op::DeleteRange { from, to } => {
                    self.order += 1;
                    self.ranges.push((from.to_vec(), to.to_vec(), self.order));
                }
                Op::PutElements { row, from, values } => {
                    let mut row = row.to_vec();
                    for (element, value) in (from..).zip(values) {
                        codec::with_sequence(&mut row, element, |key| self.row(key, Some(place(value))));
                    }
                }
                Op::DeleteElements { row, from, to } => {
                    let mut row = row.to_vec();
                    for element in from..to {
                        codec::with_sequence(&mut row, element, |key| self.row(key, None));
                    }
                }
            }
        }
    }

    fn row(&mut self, key: &[u8], value: Option<Place>) {
        self.order += 1;
        let (at, mut first) = (self.keys.len(), [0; size_of::<u128>()]);
        self.keys.extend_from_slice(key);
        first.iter_mut().zip(key).for_each(|(to, byte)| *to = *byte);
        let (first, len) = (u128::from_be_bytes(first), key.len() as u32);
        self.rows.push(Row { first, at, len, order: self.order, value });
    }

    fn sorted(self) -> Changes {
        let Self { keys, mut rows, mut ranges, .. } = self;
        // A key that is filled up with zeros sorts as the key itself, or is equal; then all of the key decides.
        let by_key = |a: &Row, b: &Row| a.first.cmp(&b.first).then_with(|| key_in(&keys, a).cmp(key_in(&keys, b)));
        rows.sort_unstable_by(|a, b| by_key(a, b).then(b.order.cmp(&a.order)));
        rows.dedup_by(|later, kept| key_in(&keys, later) == key_in(&keys, kept));
        ranges.retain(|(from, to, _)| from < to);
        ranges.sort_unstable();
        delete_in_ranges(&keys, &mut rows, &ranges);
        let mut deleted: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (from, to, _) in ranges {
            match deleted.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(std::mem::take(end)),
                _ => deleted.push((from, to)),
            }
        }
        Changes { keys, rows, deleted }
    }
}

/// Deletes the rows in ranges that were deleted after the last change of the row. Both are sorted.
fn delete_in_ranges(keys: &[u8], rows: &mut [Row], ranges: &[(Vec<u8>, Vec<u8>, u32)]) {
    let (mut next, mut open) = (ranges.iter().peekable(), Vec::<(&[u8], u32)>::new());
    for row in rows {
        let key = key_in(keys, row);
        while let Some((_, to, order)) = next.next_if(|(from, ..)| from.as_slice() <= key) {
            open.push((to.as_slice(), *order));
        }
        open.retain(|(to, _)| key < *to);
        if open.iter().any(|(_, order)| *order > row.order) {
            row.value = None;
        }
    }
}
