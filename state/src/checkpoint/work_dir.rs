//! The working folder of a process, and the removal of folders that killed processes left.
//!
//! ```text
//! root/{name}.lock   locked as long as the process lives; the system unlocks it, however the process ends
//! root/{name}/w000   a worker's RocksDB
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StateError;

/// The working folder of one process, removed when this is dropped.
#[derive(Debug)]
pub struct WorkDir {
    dir: PathBuf,
    lock: PathBuf,
    _locked: File,
}

impl WorkDir {
    /// Creates the folder `name` under `root`, and removes the folders there whose process was killed.
    ///
    /// # Errors
    /// When `root` cannot be written to.
    pub fn claim(root: &Path, name: &str) -> Result<Self, StateError> {
        fs::create_dir_all(root).map_err(StateError::io("create", root))?;
        let dir = root.join(name);
        let lock = dir.with_extension("lock");
        let locked = loop {
            let file = File::create(&lock).map_err(StateError::io("create", &lock))?;
            file.lock().map_err(StateError::io("lock", &lock))?;
            // Another process that cleans up may have removed the file between the two lines above.
            if lock.exists() {
                break file;
            }
        };
        remove_dead(root)?;
        fs::create_dir_all(&dir).map_err(StateError::io("create", &dir))?;
        Ok(Self { dir, lock, _locked: locked })
    }

    /// Returns whether no other process works under the same root. As a rule, only processes on this machine
    /// are seen.
    #[must_use]
    pub fn is_the_only_one(&self) -> bool {
        let Some(entries) = self.lock.parent().and_then(|root| fs::read_dir(root).ok()) else { return false };
        let locks = entries.flatten().map(|entry| entry.path());
        let others = locks.filter(|path| path.extension().is_some_and(|e| e == "lock") && *path != self.lock);
        // A process at work holds its lock. A lock file that is gone was removed by its owner.
        others.filter_map(|path| File::open(path).ok()).all(|file| file.try_lock().is_ok())
    }

    /// Returns the path of one worker's folder. The worker creates it.
    #[must_use]
    pub fn worker(&self, index: usize) -> PathBuf {
        self.dir.join(format!("w{index:03}"))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir, &self.lock) {
            tracing::warn!(%error, dir = %self.dir.display(), "could not remove the working folder");
        }
    }
}

fn remove(dir: &Path, lock: &Path) -> io::Result<()> {
    for result in [fs::remove_dir_all(dir), fs::remove_file(lock)] {
        match result {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the folders whose owner no longer holds the lock.
fn remove_dead(root: &Path) -> Result<(), StateError> {
    for entry in fs::read_dir(root).map_err(StateError::io("list", root))? {
        let lock = entry.map_err(StateError::io("list", root))?.path();
        if lock.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        // The lock is held until its file is removed, so that no two processes clean up the same folder.
        let Ok(file) = File::open(&lock) else { continue };
        if file.try_lock().is_ok()
            && let Err(error) = remove(&lock.with_extension(""), &lock)
        {
            tracing::debug!(%error, lock = %lock.display(), "a dead process's folder is left over");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_owners_folder_is_removed_and_a_living_ones_is_not() {
        let root = tempfile::tempdir().unwrap();
        let living = WorkDir::claim(root.path(), "a").unwrap();
        fs::create_dir_all(living.worker(0)).unwrap();
        fs::create_dir_all(root.path().join("dead/w000")).unwrap();
        File::create(root.path().join("dead.lock")).unwrap();
        let other = WorkDir::claim(root.path(), "b").unwrap();
        assert!(living.worker(0).exists());
        assert!(!root.path().join("dead").exists() && !root.path().join("dead.lock").exists());
        drop((living, other));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
