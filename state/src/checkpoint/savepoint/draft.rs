//! A draft: the folder in which a savepoint is written, until it gets its name.
//!
//! A process holds a lock on the folder of its draft, which the system releases however the process ends. So a draft
//! that nobody has locked was left by a killed process, and is removed.

use std::fs::{self, File};
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::StateError;

static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// The folder of a savepoint that is not complete yet. It is removed when it is dropped before it was published.
pub(super) struct Draft {
    folder: PathBuf,
    to: PathBuf,
    published: bool,
    _locked: File,
}

impl Draft {
    /// Creates a draft for the folder `to`, beside it, and removes what killed processes have left there.
    pub(super) fn create(to: &Path) -> Result<Self, StateError> {
        let (parent, name) = parts(to)?;
        fs::create_dir_all(parent).map_err(StateError::io("create", parent))?;
        remove_dead(parent)?;
        loop {
            let draft = DRAFTS.fetch_add(1, Ordering::Relaxed);
            let folder = parent.join(format!(".{name}.{}-{draft}.tmp", std::process::id()));
            match fs::create_dir(&folder) {
                // Of a process with the same number on another machine.
                Err(error) if error.kind() == IoKind::AlreadyExists => continue,
                created => created.map_err(StateError::io("create", &folder))?,
            }
            let locked = lock(&folder)?;
            // Another process that cleans up may have removed it before it was locked.
            if folder.exists() {
                return Ok(Self { folder, to: to.to_owned(), published: false, _locked: locked });
            }
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the draft its name, once everything in it is durable. Never replaces anything.
    pub(super) fn publish(mut self) -> Result<(), StateError> {
        sync_folders(&self.folder)?;
        fs::rename(&self.folder, &self.to).map_err(|source| match source.kind() {
            // A folder never replaces one that has files, and a savepoint has some.
            IoKind::DirectoryNotEmpty | IoKind::AlreadyExists | IoKind::NotADirectory => exists(&self.to),
            _ => StateError::Io { what: "create", path: self.to.clone(), source },
        })?;
        self.published = true;
        let (parent, _) = parts(&self.to)?;
        sync(parent)?;
        // The folder of savepoints may be new, too.
        parent.parent().map_or(Ok(()), |above| if above.as_os_str().is_empty() { Ok(()) } else { sync(above) })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, folder = %self.folder.display(), "could not remove the draft of a savepoint");
        }
    }
}

/// The error for a savepoint that is there already.
pub(super) fn exists(place: &Path) -> StateError {
    StateError::Invalid(format!(
        "\"{}\" exists already: give the savepoint another name, or delete it",
        place.display()
    ))
}

/// Removes a folder so that nobody sees a part of it: it loses its name first.
pub(super) fn remove(folder: &Path) -> Result<(), StateError> {
    let (parent, name) = parts(folder)?;
    remove_dead(parent)?;
    let draft = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let hidden = parent.join(format!(".{name}.{}-{draft}.tmp", std::process::id()));
    let locked = lock(folder)?;
    fs::rename(folder, &hidden).map_err(StateError::io("delete", folder))?;
    sync(parent)?;
    fs::remove_dir_all(&hidden).map_err(StateError::io("delete", &hidden))?;
    drop(locked);
    sync(parent)
}

/// Returns whether a name in a folder of savepoints is that of a draft.
pub(super) fn is_draft(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

fn remove_dead(parent: &Path) -> Result<(), StateError> {
    for entry in fs::read_dir(parent).map_err(StateError::io("list", parent))? {
        let entry = entry.map_err(StateError::io("list", parent))?;
        if !is_draft(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // It is gone if its owner has just published or removed it.
        let Ok(folder) = File::open(entry.path()) else { continue };
        if folder.try_lock().is_ok() {
            match fs::remove_dir_all(entry.path()) {
                Err(error) if error.kind() != IoKind::NotFound => {
                    return Err(StateError::io("delete", &entry.path())(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, StateError> {
    let file = File::open(folder).map_err(StateError::io("open", folder))?;
    match file.lock() {
        // Where nothing can be locked, no other process can lock a draft either, and so removes none.
        Err(error) if error.kind() != IoKind::Unsupported => Err(StateError::io("lock", folder)(error)),
        _ => Ok(file),
    }
}

fn parts(of: &Path) -> Result<(&Path, String), StateError> {
    let nameless =
        || StateError::Invalid(format!("\"{}\" cannot be the folder of a savepoint: it has no name", of.display()));
    let name = of.file_name().ok_or_else(nameless)?.to_string_lossy().into_owned();
    let parent = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name))
}

/// Makes the entries of a folder and of all folders in it durable.
fn sync_folders(folder: &Path) -> Result<(), StateError> {
    for entry in fs::read_dir(folder).map_err(StateError::io("list", folder))? {
        let path = entry.map_err(StateError::io("list", folder))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync(folder)
}

fn sync(folder: &Path) -> Result<(), StateError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StateError::io("make durable", folder))
}
