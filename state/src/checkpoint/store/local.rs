//! A checkpoint store in a folder of a file system.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind as IoKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::contract::{BaseEntry, BaseFile, CheckpointStore};
use super::hash::{self, Hashed};
use crate::error::StateError;

/// A checkpoint store in a folder of a local (or network) file system.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    /// The folder that was opened. It stays open, because some file systems change the inode number of a folder that
    /// nobody has open.
    opened: File,
    temporaries: AtomicU64,
    hashed: Hashed,
}

impl LocalStore {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// When the folder cannot be created or opened.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        for folder in ["manifests", "deltas", "bases", "local"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).map_err(StateError::io("create", &folder))?;
        }
        Self::of_folder(root)
    }

    /// Opens the folder of a job to look at it, and creates nothing.
    ///
    /// # Errors
    /// When there is no such folder, or it is no checkpoint directory.
    pub fn look_at(root: &Path) -> Result<Self, StateError> {
        let store = Self::of_folder(root)?;
        let is_one = ["manifests", "deltas", "bases"].iter().any(|folder| root.join(folder).is_dir());
        let other = format!(
            "\"{}\" is not a checkpoint directory: it has neither \"manifests\" nor \"deltas\" nor \"bases\"; name the directory that the job has as checkpoint_dir",
            root.display()
        );
        if is_one { Ok(store) } else { Err(StateError::Invalid(other)) }
    }

    fn of_folder(root: &Path) -> Result<Self, StateError> {
        let opened = File::open(root).map_err(StateError::io("open", root))?;
        Ok(Self { root: root.to_owned(), opened, temporaries: AtomicU64::new(0), hashed: Hashed::default() })
    }

    fn names_in(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let path = self.path(folder);
        let list = || -> std::io::Result<Vec<String>> {
            let names = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        };
        let mut names = match list() {
            // The folder was removed: the next file that is written creates it again.
            Err(e) if e.kind() == IoKind::NotFound => self.check_place().map(|()| Vec::new())?,
            listed => listed.map_err(StateError::io("list", &path))?,
        };
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes the file `path` by `write`. If its folder was removed meanwhile, creates the folder again and writes once
    /// more.
    fn within_folder<T>(&self, path: &Path, write: impl Fn() -> Result<T, StateError>) -> Result<T, StateError> {
        match write() {
            Err(error) if error.is_not_found() => {
                // The folder is not created if the whole store is gone: under a mount point without its volume, for
                // example, nothing may be written.
                self.check_place()?;
                let folder = path.parent().unwrap_or(path);
                // The folder of a base snapshot is created with its first file, so a missing one needs no warning.
                if folder.parent() == Some(&*self.root) {
                    tracing::warn!(folder = %folder.display(), "a folder of checkpoints was removed while the job runs: it is created again");
                }
                fs::create_dir_all(folder).map_err(StateError::io("create", folder))?;
                Self::sync_folder_of(folder)?;
                write()
            }
            written => written,
        }
    }

    /// Returns the path of a new temporary file in the folder where `name` will be.
    fn temporary(&self, name: &str) -> PathBuf {
        let n = self.temporaries.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("{name}.{}-{n}.tmp", std::process::id()))
    }

    /// Writes a temporary file in the folder where `name` will be, and makes it durable.
    fn write_temporary(&self, name: &str, pieces: &[&[u8]]) -> Result<PathBuf, StateError> {
        let path = self.temporary(name);
        // Small pieces are buffered and written together, large ones are written without a copy.
        let mut file = BufWriter::new(File::create(&path).map_err(StateError::io("create", &path))?);
        let mut written = pieces.iter().try_for_each(|piece| file.write_all(piece));
        written = written.and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_data());
        written.map_err(|source| {
            // After a failed write, on a full disk for example, the incomplete file is removed.
            drop(fs::remove_file(&path));
            StateError::Io { what: "write", path: path.clone(), source }
        })?;
        Ok(path)
    }

    fn sync_folder_of(path: &Path) -> Result<(), StateError> {
        let folder = path.parent().unwrap_or(path);
        File::open(folder).and_then(|f| f.sync_all()).map_err(StateError::io("make durable", folder))
    }
}

impl CheckpointStore for LocalStore {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        self.within_folder(&path, || {
            let temporary = self.write_temporary(name, &[bytes])?;
            // A hard link is the create-only put of a file system: unlike a rename it never replaces a file.
            let linked = fs::hard_link(&temporary, &path);
            fs::remove_file(&temporary).map_err(StateError::io("remove", &temporary))?;
            linked.map_err(|source| match source.kind() {
                IoKind::AlreadyExists => {
                    StateError::Fenced { file: path.display().to_string(), by: "unknown".to_owned() }
                }
                _ => StateError::Io { what: "create", path: path.clone(), source },
            })?;
            Self::sync_folder_of(&path)
        })
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.put_pieces(name, &[bytes])
    }

    fn put_pieces(&self, name: &str, pieces: &[&[u8]]) -> Result<(), StateError> {
        let path = self.path(name);
        self.within_folder(&path, || {
            let temporary = self.write_temporary(name, pieces)?;
            fs::rename(&temporary, &path).map_err(StateError::io("create", &path))?;
            Self::sync_folder_of(&path)
        })
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StateError> {
        let path = self.path(name);
        fs::read(&path).map_err(StateError::io("read checkpoint file", &path))
    }

    fn len(&self, name: &str) -> Result<Option<u64>, StateError> {
        let path = self.path(name);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == IoKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { what: "look at", path, source }),
        }
    }

    fn checksum(&self, name: &str) -> Result<Option<(u64, u32)>, StateError> {
        let path = self.path(name);
        match hash::checksum(&path) {
            Err(e) if e.kind() == IoKind::NotFound => Ok(None),
            found => found.map(Some).map_err(StateError::io("read checkpoint file", &path)),
        }
    }

    fn check_place(&self) -> Result<(), StateError> {
        let place = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let opened = self.opened.metadata().map_err(StateError::io("look at", &self.root))?;
        match fs::metadata(&self.root) {
            Ok(found) if place(&found) == place(&opened) => Ok(()),
            Err(source) if source.kind() != IoKind::NotFound => Err(StateError::io("look at", &self.root)(source)),
            _ => Err(StateError::Gone { path: self.root.clone() }),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        let system = rustix::fs::fstatvfs(&self.opened).ok()?;
        // What is kept for root alone is not counted.
        system.f_bavail.checked_mul(system.f_frsize)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let mut names = self.names_in(folder)?;
        names.retain(|name| !is_temporary(name));
        Ok(names)
    }

    fn temporaries(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let mut names = self.names_in(folder)?;
        names.retain(|name| is_temporary(name));
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name);
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match gone {
            Err(source) if source.kind() != IoKind::NotFound => Err(StateError::Io { what: "delete", path, source }),
            _ => Ok(()),
        }
    }

    fn adopt(&self, name: &str, folder: &Path) -> Result<Vec<BaseFile>, StateError> {
        let io = |what| StateError::io(what, folder);
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(io("list"))? {
            let entry = entry.map_err(io("list"))?;
            let path = entry.path();
            // RocksDB has made the SST files durable, but the small files beside them were just written.
            File::open(&path).and_then(|f| f.sync_data()).map_err(StateError::io("make durable", &path))?;
            let (len, crc32) = self.hashed.checksum(&path).map_err(StateError::io("read", &path))?;
            files.push(BaseFile { name: entry.file_name().to_string_lossy().into_owned(), len, crc32: Some(crc32) });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let path = self.path(name);
        self.within_folder(&path, || fs::rename(folder, &path).map_err(StateError::io("create", &path)))?;
        Self::sync_folder_of(&path)?;
        Ok(files)
    }

    fn fetch(&self, base: &BaseEntry, folder: &Path) -> Result<(), StateError> {
        fs::create_dir_all(folder).map_err(StateError::io("create", folder))?;
        for file in &base.files {
            let (from, to) = (self.path(&base.dir).join(&file.name), folder.join(&file.name));
            // SST files never change, so they can be shared by a hard link. RocksDB appends to the others.
            let linked =
                Path::new(&file.name).extension().is_some_and(|e| e == "sst") && fs::hard_link(&from, &to).is_ok();
            if !linked {
                fs::copy(&from, &to).map_err(StateError::io("copy checkpoint file", &from))?;
            }
        }
        Ok(())
    }

    fn copy_out(&self, name: &str, to: &Path, shares: bool) -> Result<(), StateError> {
        copy(&self.path(name), to, shares)
    }

    fn copy_in(&self, name: &str, from: &Path) -> Result<(), StateError> {
        let path = self.path(name);
        self.within_folder(&path, || {
            let temporary = self.temporary(name);
            copy(from, &temporary, true)?;
            fs::rename(&temporary, &path).map_err(StateError::io("create", &path))?;
            Self::sync_folder_of(&path)
        })
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn locate(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Copies a file and makes it durable; with `shares` by a hard link, where the file system has them.
fn copy(from: &Path, to: &Path, shares: bool) -> Result<(), StateError> {
    if shares && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map_err(StateError::io("copy checkpoint file", from))?;
    File::open(to).and_then(|file| file.sync_data()).map_err(StateError::io("make durable", to))
}

fn is_temporary(name: &str) -> bool {
    name.ends_with(".tmp")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn of_two_that_create_a_file_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::open(dir.path()).unwrap());
        let threads: Vec<_> = (0..8)
            .map(|n: u8| {
                let store = Arc::clone(&store);
                std::thread::spawn(move || store.put_new("manifests/1", &[n; 1000]).is_ok())
            })
            .collect();
        let won = threads.into_iter().map(|t| t.join().unwrap()).filter(|won| *won).count();
        assert_eq!(won, 1);
        let bytes = store.get("manifests/1").unwrap();
        assert!(bytes.len() == 1000 && bytes.iter().all(|b| *b == bytes[0]));
        assert_eq!(store.list("manifests").unwrap(), ["1"], "no temporary is left");
    }

    #[test]
    fn a_removed_folder_is_made_anew_but_another_place_is_not_written_to() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("store");
        let store = LocalStore::open(&root).unwrap();
        store.put("deltas/1", b"one").unwrap();
        fs::remove_dir_all(root.join("deltas")).unwrap();
        fs::remove_dir_all(root.join("manifests")).unwrap();
        fs::remove_dir_all(root.join("bases")).unwrap();
        assert_eq!(store.list("deltas").unwrap(), [""; 0]);
        store.put_pieces("deltas/2", &[b"t", &vec![b'w'; 1 << 20], b"o"]).unwrap();
        store.put_new("manifests/2", b"{}").unwrap();
        let snapshot = scratch.path().join("snapshot");
        fs::create_dir(&snapshot).unwrap();
        store.adopt("bases/2", &snapshot).unwrap();
        let bytes = store.get("deltas/2").unwrap();
        assert_eq!(store.checksum("deltas/2").unwrap(), Some(((1 << 20) + 2, crc32fast::hash(&bytes))));
        assert_eq!(store.checksum("deltas/1").unwrap(), None);
        store.check_place().unwrap();
        // When a volume is no longer mounted, there is another folder in its place. A rename does the same here.
        fs::rename(&root, scratch.path().join("away")).unwrap();
        let gone = |result: Result<(), StateError>| matches!(result, Err(StateError::Gone { .. }));
        assert!(gone(store.check_place()) && gone(store.put("deltas/3", b"")) && gone(store.list("deltas").map(drop)));
        fs::create_dir(&root).unwrap();
        assert!(gone(store.check_place()) && gone(store.put("deltas/3", b"")) && gone(store.list("deltas").map(drop)));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "nothing was written there");
    }
}
