//! How a savepoint is taken of a checkpoint, also while its job runs.

use std::fs;
use std::path::Path;

use super::draft::{Draft, exists};
use super::open::check;
use crate::checkpoint::json;
use crate::checkpoint::manifest::{Manifest, WorkerEntry};
use crate::checkpoint::store::{CheckpointStore, LocalStore};
use crate::error::StateError;

/// Whether a savepoint may share files with its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Files are hard links where the file system has them, and take no more space: files of checkpoints never change.
    Links,
    /// Each file is a copy with bytes of its own.
    Copies,
}

/// Takes a savepoint of a checkpoint: copies all of its files to the new folder `to`, which appears only once every byte
/// was compared with the manifest and is durable.
///
/// # Errors
/// [`StateError::is_not_found`] when the job has removed the checkpoint meanwhile; when files are not as the manifest
/// says; when `to` exists. Then nothing is left.
pub fn take_savepoint(
    store: &dyn CheckpointStore,
    manifest: &Manifest,
    to: &Path,
    sharing: Sharing,
) -> Result<(), StateError> {
    if to.exists() {
        return Err(exists(to));
    }
    let draft = Draft::create(to)?;
    for folder in ["manifests", "deltas", "bases"] {
        let folder = draft.folder().join(folder);
        fs::create_dir(&folder).map_err(StateError::io("create", &folder))?;
    }
    for worker in &manifest.workers {
        copy(store, worker, draft.folder(), sharing)?;
    }
    let written = LocalStore::look_at(draft.folder())?;
    let mut manifest = manifest.clone();
    add_checksums(&written, &mut manifest)?;
    written.put_new(&Manifest::file(manifest.epoch), json::encode(&manifest)?.as_bytes())?;
    check(&written, manifest.epoch, to)?;
    draft.publish()
}

/// Takes a savepoint of a checkpoint of a job that may be running, which removes old checkpoints. Returns false when it
/// has removed this one meanwhile: then nothing is left, and another one can be taken.
///
/// # Errors
/// Those of [`take_savepoint`].
pub fn take_savepoint_unless_removed(
    store: &dyn CheckpointStore,
    manifest: &Manifest,
    to: &Path,
    sharing: Sharing,
) -> Result<bool, StateError> {
    match take_savepoint(store, manifest, to, sharing) {
        // The job removes the manifest first.
        Err(error) if error.is_not_found() && store.len(&Manifest::file(manifest.epoch))?.is_none() => Ok(false),
        taken => taken.map(|()| true),
    }
}

fn copy(store: &dyn CheckpointStore, of: &WorkerEntry, to: &Path, sharing: Sharing) -> Result<(), StateError> {
    let shares = sharing == Sharing::Links;
    if let Some(base) = &of.base {
        let folder = to.join(&base.dir);
        fs::create_dir_all(&folder).map_err(StateError::io("create", &folder))?;
    }
    of.files().try_for_each(|file| store.copy_out(&file.name, &to.join(&file.name), shares))
}

/// Adds the checksums that a manifest of an earlier version does not have, so that later damage is found.
fn add_checksums(store: &LocalStore, manifest: &mut Manifest) -> Result<(), StateError> {
    for base in manifest.workers.iter_mut().filter_map(|worker| worker.base.as_mut()) {
        for file in base.files.iter_mut().filter(|file| file.crc32.is_none()) {
            file.crc32 = store.checksum(&format!("{}/{}", base.dir, file.name))?.map(|(_, crc32)| crc32);
        }
    }
    Ok(())
}
