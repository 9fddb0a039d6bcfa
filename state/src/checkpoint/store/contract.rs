//! The contract of a checkpoint store.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::StateError;

/// A file of a base snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFile {
    /// Name of the file within the snapshot.
    pub name: String,
    /// Length of the file in bytes.
    pub len: u64,
    /// Checksum (crc32) of the file; missing in manifests of 0.1.0 from before bases had checksums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
}

/// A base snapshot, as listed in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseEntry {
    /// Epoch at whose end the snapshot was taken.
    pub epoch: u64,
    /// Folder of the snapshot in the checkpoint store.
    pub dir: String,
    /// The files of the snapshot.
    pub files: Vec<BaseFile>,
}

/// A store for checkpoints. Data that a call has written is durable when the call returns.
pub trait CheckpointStore: Send + Sync {
    /// Creates a file, and never replaces one.
    ///
    /// # Errors
    /// [`StateError::Fenced`] when the file exists.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// Writes a file whose name no other writer uses.
    ///
    /// # Errors
    /// When the store cannot write it.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// Writes a file as [`put`](Self::put) does, from pieces that follow each other.
    ///
    /// # Errors
    /// When the store cannot write it.
    fn put_pieces(&self, name: &str, pieces: &[&[u8]]) -> Result<(), StateError> {
        self.put(name, &pieces.concat())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When the file is missing or cannot be read.
    fn get(&self, name: &str) -> Result<Vec<u8>, StateError>;

    /// Returns the length of a file in bytes, or `None` if there is no such file.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn len(&self, name: &str) -> Result<Option<u64>, StateError>;

    /// Returns the length and the checksum (crc32) of a file, or `None` if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn checksum(&self, name: &str) -> Result<Option<(u64, u32)>, StateError> {
        match self.len(name)? {
            None => Ok(None),
            Some(_) => self.get(name).map(|bytes| Some((bytes.len() as u64, crc32fast::hash(&bytes)))),
        }
    }

    /// Checks that the store's directory is still the one that was opened: it was not removed, replaced or unmounted.
    ///
    /// # Errors
    /// [`StateError::Gone`] when it is another one or missing.
    fn check_place(&self) -> Result<(), StateError> {
        Ok(())
    }

    /// Returns how many more bytes the store can take; `None` if that has no bound, or is not known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Returns the names directly under a folder, sorted.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self, folder: &str) -> Result<Vec<String>, StateError>;

    /// Returns the names of the temporary files directly under a folder, sorted: of writes that are going on, or that a
    /// crash interrupted. [`list`](Self::list) leaves them out.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn temporaries(&self, _folder: &str) -> Result<Vec<String>, StateError> {
        Ok(Vec::new())
    }

    /// Deletes a file or folder. A missing one is no error.
    ///
    /// # Errors
    /// When the store refuses.
    fn delete(&self, name: &str) -> Result<(), StateError>;

    /// Moves a local folder into the store, as a base snapshot. Returns its files.
    ///
    /// # Errors
    /// When the store cannot write it.
    fn adopt(&self, name: &str, folder: &Path) -> Result<Vec<BaseFile>, StateError>;

    /// Copies a base snapshot to a new local folder, where RocksDB can continue from it. Files that RocksDB never
    /// changes may be shared instead of copied.
    ///
    /// # Errors
    /// When a file is missing or cannot be copied.
    fn fetch(&self, base: &BaseEntry, folder: &Path) -> Result<(), StateError>;

    /// Copies a file to the local path `to`, where nothing is, and makes it durable. With `shares` both may be one file,
    /// which nobody changes.
    ///
    /// # Errors
    /// When the file is missing or cannot be copied.
    fn copy_out(&self, name: &str, to: &Path, _shares: bool) -> Result<(), StateError> {
        let bytes = self.get(name)?;
        let write =
            || fs::File::create_new(to).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data()));
        write().map_err(StateError::io("write", to))
    }

    /// Copies the local file `from` into the store, in place of what is there. Both may be one file, which nobody
    /// changes.
    ///
    /// # Errors
    /// When the file cannot be read or copied.
    fn copy_in(&self, name: &str, from: &Path) -> Result<(), StateError> {
        self.put(name, &fs::read(from).map_err(StateError::io("read", from))?)
    }

    /// Returns the folder that has the files, if they are on this machine.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Returns the full path of a name, for messages.
    fn locate(&self, name: &str) -> String;
}
