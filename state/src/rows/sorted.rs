//! The changes of several deltas, sorted by row.
//!
//! ```text
//! deltas, in order ─▶ parts, each for some key groups, by a thread of its own
//!                     ─▶ per key group: one row per key (the last change of it), and the ranges in which older rows are deleted
//! ```
//! The rows of a key group are collected by themselves, so that what is sorted at a time fits into a processor's caches.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::checkpoint::delta::{Delta, Op, Ops};
use crate::codec;
use crate::ids::KeyGroup;
use crate::threads;

/// Of this many changes one is looked at, to find out how many each key group has.
const LOOKED_AT: usize = 64;

/// The changes of states, by state and key group.
pub(super) type Sorted = BTreeMap<String, BTreeMap<u16, Changes>>;

/// The changes of one state in one key group, with one row per key, in the order of keys.
#[derive(Default)]
pub(super) struct Changes {
    keys: Vec<u8>,
    pub(super) rows: Vec<Row>,
    /// Ranges of deleted rows, which do not overlap. The rows in `rows` are right without them.
    pub(super) deleted: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A row: its key in `keys`, and its value.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The first bytes of the key, so that most comparisons need not read the key.
    first: u128,
    at: usize,
    len: u32,
    /// Number of changes before this one.
    order: u32,
    /// The value; `None` if the row is deleted.
    pub(super) value: Option<Place>,
}

/// A value within the section of a delta.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Index of the delta, and one more: so a row without a value is no longer than one with it.
    delta: NonZeroU32,
    len: u32,
    at: usize,
}

impl Place {
    /// Returns the value, which lies in one of these deltas.
    pub(super) fn value<'d>(&self, deltas: &'d [Arc<Delta>], state: &str) -> &'d [u8] {
        let delta = deltas.get(self.delta.get() as usize - 1);
        let section = delta.and_then(|delta| delta.section_bytes(state)).unwrap_or_default();
        section.get(self.at..self.at + self.len as usize).unwrap_or_default()
    }
}

/// Returns the changes of one part of the key groups: of those from its first group to that of the next part.
pub(super) fn sorted(deltas: &[Arc<Delta>], firsts: &[u16], part: usize) -> Sorted {
    let (first, end) = (firsts.get(part).copied().unwrap_or(0), firsts.get(part + 1).copied());
    let ours = |group: u16| first <= group && end.is_none_or(|end| group < end);
    let mut states = BTreeMap::<&str, Collected>::new();
    for (state, ops) in deltas.iter().flat_map(|delta| delta.sections()) {
        states.entry(state).or_insert_with(|| Collected::from_group(first)).to_come += ops.len();
    }
    for (number, delta) in (1..).map_while(NonZeroU32::new).zip(deltas) {
        for (state, ops) in delta.sections() {
            states.entry(state).or_default().add(number, ops, ours);
        }
    }
    states.into_iter().map(|(state, collected)| (state.to_owned(), collected.sorted())).collect()
}

/// Returns the first key group of each of so many parts, so that all have about as many changes. They begin with the first
/// one that there may be.
pub(super) fn first_groups(deltas: &[Arc<Delta>], parts: usize, threads: usize) -> Vec<u16> {
    if parts < 2 {
        return vec![0];
    }
    let of_delta = |at: usize| -> Vec<u16> {
        let ops = deltas[at].sections().flat_map(|(_, ops)| ops.iter().flatten());
        ops.step_by(LOOKED_AT).map(|op| codec::group_of_row(op.key()).0).collect()
    };
    let mut groups = threads::each(deltas.len(), threads, of_delta).concat();
    groups.sort_unstable();
    let mut firsts = vec![0];
    firsts.extend((1..parts).filter_map(|part| groups.get(part * groups.len() / parts).copied()));
    firsts.dedup();
    firsts
}

impl Changes {
    pub(super) fn key(&self, row: &Row) -> &[u8] {
        key_in(&self.keys, row)
    }

    /// Returns the index of the first row whose key is not before `key`.
    pub(super) fn from(&self, key: &[u8]) -> usize {
        self.rows.partition_point(|row| self.key(row) < key)
    }

    pub(super) fn is_deleted(&self, key: &[u8]) -> bool {
        let after = self.deleted.partition_point(|(from, _)| from.as_slice() <= key);
        after.checked_sub(1).and_then(|last| self.deleted.get(last)).is_some_and(|(_, to)| key < to.as_slice())
    }
}

fn key_in<'k>(keys: &'k [u8], row: &Row) -> &'k [u8] {
    keys.get(row.at..row.at + row.len as usize).unwrap_or_default()
}

/// Compares the keys of two rows.
fn by_key(keys: &[u8], a: &Row, b: &Row) -> Ordering {
    const FIRST: u32 = size_of::<u128>() as u32;
    // A key that is filled up with zeros sorts as the key itself, or is equal: then a short key comes before a longer one, and
    // of long keys the rest decides.
    a.first.cmp(&b.first).then_with(|| match (a.len, b.len) {
        (a, b) if a.min(b) <= FIRST => a.cmp(&b),
        _ => key_in(keys, a).cmp(key_in(keys, b)),
    })
}

/// The changes of one state while they are collected, by key group.
#[derive(Default)]
struct Collected {
    /// The first of the groups.
    first: u16,
    groups: Vec<Group>,
    /// Size of the changes that were read, and of those that are to come, in bytes.
    read: usize,
    to_come: usize,
}

impl Collected {
    /// Size of changes from which on it can be said how many rows the others have.
    const TELLING_BYTES: usize = 1 << 20;
    /// Size of a change of a row, at least, in bytes.
    const LEAST_ROW_BYTES: usize = 8;

    fn from_group(first: u16) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds the changes of some key groups. A range of rows lies in one group.
    fn add(&mut self, delta: NonZeroU32, ops: &Ops, ours: impl Fn(u16) -> bool) {
        let start = ops.as_slice().as_ptr() as usize;
        let place = |value: &[u8]| Place { delta, at: value.as_ptr() as usize - start, len: value.len() as u32 };
        let mut element_row = Vec::new();
        // A delta is read only if all of its changes can be read.
        for op in ops.iter().flatten() {
            let KeyGroup(number) = codec::group_of_row(op.key());
            if !ours(number) {
                continue;
            }
            let group = self.group(number);
            match op {
                Op::Put { key, value } => group.row(key, Some(place(value))),
                Op::Delete { key } => group.row(key, None),
                Op::DeleteRange { from, to } => {
                    group.order += 1;
                    group.ranges.push((from.to_vec(), to.to_vec(), group.order));
                }
                Op::PutElements { row, from, values } => {
                    row.clone_into(&mut element_row);
                    for (element, value) in (from..).zip(values) {
                        codec::with_sequence(&mut element_row, element, |key| group.row(key, Some(place(value))));
                    }
                }
                Op::DeleteElements { row, from, to } => {
                    row.clone_into(&mut element_row);
                    for element in from..to {
                        codec::with_sequence(&mut element_row, element, |key| group.row(key, None));
                    }
                }
            }
        }
        let told = self.read >= Self::TELLING_BYTES;
        self.read += ops.len();
        self.to_come -= ops.len();
        if !told && self.read >= Self::TELLING_BYTES {
            self.make_room();
        }
    }

    fn group(&mut self, number: u16) -> &mut Group {
        let at = usize::from(number - self.first);
        if at >= self.groups.len() {
            self.groups.resize_with(at + 1, Group::default);
        }
        &mut self.groups[at]
    }

    /// Makes room for the rows of the changes to come: where they are many, they would be copied with each doubling.
    fn make_room(&mut self) {
        let times = self.to_come.div_ceil(self.read);
        for Group { keys, rows, .. } in &mut self.groups {
            rows.reserve(rows.len().saturating_mul(times).min(self.to_come / Self::LEAST_ROW_BYTES));
            keys.reserve(keys.len().saturating_mul(times).min(self.to_come));
        }
    }

    fn sorted(self) -> BTreeMap<u16, Changes> {
        let changed = (self.first..).zip(self.groups).filter(|(_, group)| group.order > 0);
        changed.map(|(number, group)| (number, group.sorted())).collect()
    }
}

/// The changes of one state in one key group, in the order in which they were made.
#[derive(Default)]
struct Group {
    keys: Vec<u8>,
    rows: Vec<Row>,
    /// Ranges of deleted rows, each with the number of changes before it.
    ranges: Vec<(Vec<u8>, Vec<u8>, u32)>,
    order: u32,
}

impl Group {
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
        rows.sort_unstable_by(|a, b| by_key(&keys, a, b).then(b.order.cmp(&a.order)));
        rows.dedup_by(|later, kept| by_key(&keys, later, kept).is_eq());
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
