//! The rows of a checkpoint: the base and the deltas of each worker, read in a folder of the reader's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::row::RowReader;
use crate::checkpoint::delta::Delta;
use crate::checkpoint::manifest::{Manifest, WorkerEntry};
use crate::checkpoint::store::CheckpointStore;
use crate::error::StateError;
use crate::evolve::spec::StateEntry;
use crate::rows::db::Db;
use crate::rows::snapshot::RowSnapshot;

/// Visits the rows of a state as JSON, until `visit` returns false. `scratch` is a folder for links to files of bases, and
/// for copies of their small files.
///
/// # Errors
/// When a file of the checkpoint cannot be read, and those of `visit`.
pub fn dump(
    store: &dyn CheckpointStore,
    manifest: &Manifest,
    state: &StateEntry,
    scratch: &Path,
    visit: &mut dyn FnMut(Value) -> Result<bool, StateError>,
) -> Result<(), StateError> {
    let reader = RowReader::of(state);
    let mut more = true;
    for (worker, files) in manifest.workers.iter().enumerate() {
        if !more {
            break;
        }
        let rows = WorkerRows::open(store, files, manifest.epoch, &scratch.join(format!("w{worker:03}")))?;
        rows.db.scan(&state.name, &[], |row, value| {
            more = reader.unpacked(row, value, |row, value| visit(reader.read(row, value)))?;
            Ok(more)
        })?;
        rows.close()?;
    }
    Ok(())
}

/// The rows of one worker, as they are at the end of a checkpoint's epoch.
pub(super) struct WorkerRows {
    pub(super) db: Db,
    folder: PathBuf,
}

impl WorkerRows {
    /// Opens the rows, in `folder` if they are in files.
    pub(super) fn open(
        store: &dyn CheckpointStore,
        files: &WorkerEntry,
        epoch: u64,
        folder: &Path,
    ) -> Result<Self, StateError> {
        let db = match &files.base {
            Some(base) if RowSnapshot::is_of_maps(base) => {
                let db = Db::simulated(epoch);
                db.apply(&RowSnapshot::rows(store, base)?, |_| true)?;
                db
            }
            Some(base) => {
                store.fetch(base, folder)?;
                Db::open(folder, epoch, false)?
            }
            None => Db::simulated(epoch),
        };
        let deltas = files.deltas_to_apply().map(|entry| Delta::load(store, entry).map(Arc::new));
        db.put_above(deltas.collect::<Result<_, _>>()?, 1);
        Ok(Self { db, folder: folder.to_owned() })
    }

    /// Closes the rows, and removes their folder.
    pub(super) fn close(self) -> Result<(), StateError> {
        let Self { db, folder } = self;
        drop(db);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(StateError::io("remove", &folder))?;
        }
        Ok(())
    }
}
