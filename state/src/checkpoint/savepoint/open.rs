//! A savepoint that is there: what it has, and whether it is as it was written.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use super::draft::{is_draft, remove};
use super::place::FOLDER;
use crate::checkpoint::examine::examine;
use crate::checkpoint::history::list_epochs;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::LocalStore;
use crate::error::StateError;

/// A savepoint.
#[derive(Debug)]
pub struct Savepoint {
    /// The folder of the savepoint.
    pub place: PathBuf,
    /// The manifest of its checkpoint.
    pub manifest: Manifest,
    /// The savepoint's files.
    pub store: LocalStore,
}

impl Savepoint {
    /// Opens a savepoint. This reads its manifest only.
    ///
    /// # Errors
    /// When there is no savepoint in the folder, or its manifest is damaged.
    pub fn open(place: &Path) -> Result<Self, StateError> {
        let store = LocalStore::look_at(place).map_err(|error| match error {
            StateError::Io { source, .. } if source.kind() == IoKind::NotFound => {
                none(place, "there is no such folder")
            }
            StateError::Invalid(_) => none(place, "the folder has no checkpoint"),
            other => other,
        })?;
        // A savepoint that is claimed or deleted is removed with all that is in its folder.
        let of_job = || none(place, "it is the checkpoint directory of a job");
        let epoch = match &list_epochs(&store)?[..] {
            _ if place.join("local").exists() => return Err(of_job()),
            [] => return Err(damaged(place, vec!["missing: its manifest is not there".to_owned()])),
            [epoch] => *epoch,
            _ => return Err(of_job()),
        };
        match Manifest::load(&store, epoch) {
            Ok(manifest) => Ok(Self { place: place.to_owned(), manifest, store }),
            Err(StateError::Corrupt { reason, .. }) => {
                Err(damaged(place, vec![format!("unreadable: {}: {reason}", Manifest::file(epoch))]))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads every byte of the savepoint, and compares it with the manifest.
    ///
    /// # Errors
    /// [`StateError::Savepoint`], which names each file that is not as it was written, and where.
    pub fn check(&self) -> Result<(), StateError> {
        check(&self.store, self.manifest.epoch, &self.place)
    }

    /// Deletes the savepoint. Nobody sees a part of it meanwhile.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn delete(self) -> Result<(), StateError> {
        let Self { place, store, .. } = self;
        drop(store);
        remove(&place)
    }
}

/// Compares every byte of a savepoint's files with its manifest. `place` is where a person knows it.
pub(super) fn check(store: &LocalStore, epoch: u64, place: &Path) -> Result<(), StateError> {
    let found = examine(store, Some(epoch))?;
    if found.findings.is_empty() && found.whole == [epoch] {
        return Ok(());
    }
    Err(damaged(place, found.findings.iter().map(ToString::to_string).collect()))
}

fn none(place: &Path, reason: &str) -> StateError {
    StateError::Invalid(format!("\"{}\" is not a savepoint: {reason}", place.display()))
}

fn damaged(place: &Path, faults: Vec<String>) -> StateError {
    StateError::Savepoint { place: place.to_owned(), faults }
}

/// A folder among the savepoints of a checkpoint directory.
#[derive(Debug)]
pub struct ListedSavepoint {
    /// Name of the savepoint.
    pub name: String,
    /// The savepoint, or why it cannot be opened.
    pub savepoint: Result<Savepoint, StateError>,
}

/// Returns the savepoints in a checkpoint directory, sorted by name. Drafts are not among them.
///
/// # Errors
/// When the folder of savepoints cannot be listed.
pub fn savepoints(checkpoint_dir: &Path) -> Result<Vec<ListedSavepoint>, StateError> {
    let folder = checkpoint_dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == IoKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StateError::io("list", &folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StateError::io("list", &folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !is_draft(&name) {
            names.push(name);
        }
    }
    names.sort();
    let listed =
        names.into_iter().map(|name| ListedSavepoint { savepoint: Savepoint::open(&folder.join(&name)), name });
    Ok(listed.collect())
}
