//! The rows of a checkpoint: the base and the deltas of each worker, read in a folder of the reader's own.

use std::fs;
use std::path::Path;
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

/// A function that gets a row's key and value, and returns whether it wants more rows.
type VisitStored<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StateError> + 'v;

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
    rows_of(store, manifest, &state.name, scratch, &mut |row, value| visit(reader.read(row, value)))
}

/// Visits the rows of a state as they are stored, worker by worker, in the order of their keys.
fn rows_of(
    store: &dyn CheckpointStore,
    manifest: &Manifest,
    state: &str,
    scratch: &Path,
    visit: &mut VisitStored<'_>,
) -> Result<(), StateError> {
    let mut more = true;
    for (worker, files) in manifest.workers.iter().enumerate() {
        if !more {
            break;
        }
        let folder = scratch.join(format!("w{worker:03}"));
        let db = open(store, files, manifest.epoch, &folder)?;
        db.scan(state, &[], |row, value| {
            more = visit(row, value)?;
            Ok(more)
        })?;
        drop(db);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(StateError::io("remove", &folder))?;
        }
    }
    Ok(())
}

/// Opens the rows of one worker, as they are at the end of the checkpoint's epoch.
fn open(store: &dyn CheckpointStore, files: &WorkerEntry, epoch: u64, folder: &Path) -> Result<Db, StateError> {
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
    db.put_above(deltas.collect::<Result<_, _>>()?);
    Ok(db)
}
