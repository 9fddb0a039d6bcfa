//! What a place for checkpoints does.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::StateError;

/// A file of a base snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFile {
    /// Its name within the snapshot.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A base snapshot as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseEntry {
    /// The epoch whose state it holds.
    pub epoch: u64,
    /// Its folder in the checkpoint store.
    pub dir: String,
    /// Its files.
    pub files: Vec<BaseFile>,
}

/// A place for checkpoints. What a call has written is durable when it returns.
pub trait CheckpointStore: Send + Sync {
    /// Creates a file; never replaces one.
    ///
    /// # Errors
    /// [`StateError::Fenced`] when it exists.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// Writes a file whose name nobody else uses.
    ///
    /// # Errors
    /// When the place cannot take it.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// As [`put`](Self::put), of bytes that are in several places.
    ///
    /// # Errors
    /// When the place cannot take it.
    fn put_pieces(&self, name: &str, pieces: &[&[u8]]) -> Result<(), StateError> {
        self.put(name, &pieces.concat())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there or not readable.
    fn get(&self, name: &str) -> Result<Vec<u8>, StateError>;

    /// The length of a file, or `None` when it is not there.
    ///
    /// # Errors
    /// When the place cannot be asked.
    fn len(&self, name: &str) -> Result<Option<u64>, StateError>;

    /// The length and the checksum (crc32) of a file, or `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn checksum(&self, name: &str) -> Result<Option<(u64, u32)>, StateError> {
        match self.len(name)? {
            None => Ok(None),
            Some(_) => self.get(name).map(|bytes| Some((bytes.len() as u64, crc32fast::hash(&bytes)))),
        }
    }

    /// Makes sure that this is the place that was opened, and not what another one left there.
    ///
    /// # Errors
    /// [`StateError::Gone`] when it is not.
    fn check_place(&self) -> Result<(), StateError> {
        Ok(())
    }

    /// The names directly under a folder, sorted.
    ///
    /// # Errors
    /// When the place cannot be asked.
    fn list(&self, folder: &str) -> Result<Vec<String>, StateError>;

    /// Deletes a file or folder; one that is not there is no error.
    ///
    /// # Errors
    /// When the place refuses.
    fn delete(&self, name: &str) -> Result<(), StateError>;

    /// Takes over a local folder as a base snapshot.
    ///
    /// # Errors
    /// When the place cannot take it.
    fn adopt(&self, name: &str, folder: &Path) -> Result<Vec<BaseFile>, StateError>;

    /// Brings a base snapshot to a new local folder, where RocksDB may go on from it.
    ///
    /// # Errors
    /// When a file is not there or cannot be brought.
    fn fetch(&self, base: &BaseEntry, folder: &Path) -> Result<(), StateError>;

    /// Where a name is, for messages.
    fn locate(&self, name: &str) -> String;
}
