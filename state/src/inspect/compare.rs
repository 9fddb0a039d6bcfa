//! What has changed between two checkpoints: both have their rows in the order of keys, so they are read side by side.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::cursor::Cursor;
use super::rows::WorkerRows;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::error::StateError;

/// How the rows of a state differ between two checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateDifference {
    /// Name of the state, as `operator/state`.
    pub state: String,
    /// Number of rows that only the second checkpoint has.
    pub added: u64,
    /// Number of rows that only the first checkpoint has.
    pub removed: u64,
    /// Number of rows that both have, with different values.
    pub changed: u64,
    /// Number of rows that both have, with the same value.
    pub same: u64,
    /// Size of the first checkpoint's rows, keys and values, in bytes.
    pub bytes_before: u64,
    /// Size of the second checkpoint's rows.
    pub bytes_after: u64,
}

/// A checkpoint that is compared with another one.
#[derive(Clone, Copy)]
pub struct Compared<'c> {
    /// The store that has its files.
    pub store: &'c dyn CheckpointStore,
    /// Its manifest.
    pub manifest: &'c Manifest,
}

impl Compared<'_> {
    fn open(&self, workers: std::ops::Range<usize>, scratch: &Path) -> Result<Vec<WorkerRows>, StateError> {
        let files = self.manifest.workers.get(workers.clone()).unwrap_or_default().iter().zip(workers);
        let open = |(files, worker)| {
            WorkerRows::open(self.store, files, self.manifest.epoch, &scratch.join(format!("w{worker:03}")))
        };
        files.map(open).collect()
    }
}

/// Compares the rows of all states of two checkpoints as they are stored, and returns the states in order.
///
/// Memory holds some rows of each, and the deltas of the workers that are compared at a time: one of each checkpoint if
/// both are of as many workers, because then the same worker has the same keys in both; otherwise all.
///
/// # Errors
/// When a file of a checkpoint cannot be read.
pub fn compare(before: Compared<'_>, after: Compared<'_>, scratch: &Path) -> Result<Vec<StateDifference>, StateError> {
    let names = [before, after].into_iter().flat_map(|one| &one.manifest.states).map(|state| state.name.as_str());
    let names: BTreeSet<&str> = names.collect();
    let named = |name: &&str| StateDifference { state: (*name).to_owned(), ..StateDifference::default() };
    let mut found: Vec<StateDifference> = names.iter().map(named).collect();
    let (old, new) = (before.manifest.workers.len(), after.manifest.workers.len());
    let turns = if old == new { (0..old).map(|w| (w..w + 1, w..w + 1)).collect() } else { vec![(0..old, 0..new)] };
    for (old, new) in turns {
        let old = before.open(old, &scratch.join("before"))?;
        let new = after.open(new, &scratch.join("after"))?;
        for (name, difference) in names.iter().zip(&mut found) {
            difference.add(Cursor::new(&old, name), Cursor::new(&new, name))?;
        }
        old.into_iter().chain(new).try_for_each(WorkerRows::close)?;
    }
    Ok(found)
}

impl StateDifference {
    fn add(&mut self, mut before: Cursor<'_>, mut after: Cursor<'_>) -> Result<(), StateError> {
        loop {
            let order = match (before.peek()?, after.peek()?) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.cmp(new),
            };
            let old = if order.is_le() { before.next()? } else { None };
            let new = if order.is_ge() { after.next()? } else { None };
            let size =
                |row: &Option<(Vec<u8>, Vec<u8>)>| row.as_ref().map_or(0, |(key, value)| key.len() + value.len());
            self.bytes_before += size(&old) as u64;
            self.bytes_after += size(&new) as u64;
            let count = match order {
                Ordering::Less => &mut self.removed,
                Ordering::Greater => &mut self.added,
                Ordering::Equal if old == new => &mut self.same,
                Ordering::Equal => &mut self.changed,
            };
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests;
