//! Base snapshots, on their way from the rows to the checkpoint store.

#[cfg(feature = "rocksdb")]
use std::{fs, path::PathBuf};

use crate::checkpoint::delta::Delta;
use crate::checkpoint::store::{BaseEntry, BaseFile, CheckpointStore};
use crate::error::StateError;

/// A base snapshot that is not in the checkpoint store yet.
pub struct RowSnapshot {
    epoch: u64,
    files: Files,
}

enum Files {
    /// The folder of a RocksDB checkpoint.
    #[cfg(feature = "rocksdb")]
    Folder(PathBuf),
    /// All rows of maps, for one file.
    Rows(Delta),
}

impl RowSnapshot {
    const ROWS: &str = "rows";

    #[cfg(feature = "rocksdb")]
    pub(super) fn of_folder(epoch: u64, folder: PathBuf) -> Self {
        Self { epoch, files: Files::Folder(folder) }
    }

    pub(super) fn of_rows(rows: Delta) -> Self {
        Self { epoch: rows.epoch(), files: Files::Rows(rows) }
    }

    /// Discards the snapshot and removes its files.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn discard(self) -> Result<(), StateError> {
        match self.files {
            #[cfg(feature = "rocksdb")]
            Files::Folder(folder) => fs::remove_dir_all(&folder).map_err(StateError::io("remove", &folder)),
            Files::Rows(_) => Ok(()),
        }
    }

    /// Moves the snapshot into the store, to a folder that is named after `epoch`, the running epoch. That epoch must
    /// not be committed yet, because pruning deletes files of committed epochs that no manifest names.
    ///
    /// # Errors
    /// When the store cannot write it.
    pub fn store(
        self,
        store: &dyn CheckpointStore,
        epoch: u64,
        worker: u32,
        incarnation: u64,
    ) -> Result<BaseEntry, StateError> {
        debug_assert!(self.epoch <= epoch);
        let dir = format!("bases/{epoch:020}-w{worker:03}-{incarnation:016x}");
        let files = match self.files {
            #[cfg(feature = "rocksdb")]
            Files::Folder(folder) => store.adopt(&dir, &folder)?,
            Files::Rows(rows) => {
                let (len, crc32) = rows.put(store, &format!("{dir}/{}", Self::ROWS))?;
                vec![BaseFile { name: Self::ROWS.to_owned(), len, crc32: Some(crc32) }]
            }
        };
        Ok(BaseEntry { epoch: self.epoch, dir, files })
    }

    /// Returns whether a base snapshot was taken of maps. RocksDB has no file of that name.
    pub(crate) fn is_of_maps(base: &BaseEntry) -> bool {
        matches!(&base.files[..], [file] if file.name == Self::ROWS)
    }

    /// Returns the rows of a base snapshot that was taken of maps.
    pub(crate) fn rows(store: &dyn CheckpointStore, base: &BaseEntry) -> Result<Delta, StateError> {
        Delta::get(store, &format!("{}/{}", base.dir, Self::ROWS))
    }
}
