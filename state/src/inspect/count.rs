//! How many rows the states of a checkpoint have.

use std::path::Path;

use serde::Serialize;

use super::rows::WorkerRows;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::codec;
use crate::error::StateError;

/// How many rows a state has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateSize {
    /// Number of rows.
    pub rows: u64,
    /// Size of the rows, keys and values, in bytes, before compression.
    pub bytes: u64,
    /// Number of key groups that have rows.
    pub key_groups: u64,
    /// Number of workers that have rows.
    pub workers: u64,
}

/// Counts the rows of all states of a checkpoint, in the order in which its manifest has them. Expired values count until
/// they are removed.
///
/// # Errors
/// When a file of the checkpoint cannot be read.
pub fn count(store: &dyn CheckpointStore, manifest: &Manifest, scratch: &Path) -> Result<Vec<StateSize>, StateError> {
    let mut sizes = vec![StateSize::default(); manifest.states.len()];
    for (worker, files) in manifest.workers.iter().enumerate() {
        let rows = WorkerRows::open(store, files, manifest.epoch, &scratch.join(format!("w{worker:03}")))?;
        for (state, size) in manifest.states.iter().zip(&mut sizes) {
            // The rows of a key group follow each other, and are on one worker.
            let mut last = None;
            rows.db.scan(&state.name, &[], |row, value| {
                size.rows += 1;
                size.bytes += (row.len() + value.len()) as u64;
                let group = Some(codec::group_of_row(row));
                size.key_groups += u64::from(group != last);
                last = group;
                Ok(true)
            })?;
            size.workers += u64::from(last.is_some());
        }
        rows.close()?;
    }
    Ok(sizes)
}
