//! Deltas in the checkpoint store: each is a file that manifests name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::content::Delta;
use super::file::{self, DeltaFile};
use crate::checkpoint::store::CheckpointStore;
use crate::error::StateError;

/// A delta's file, as listed in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaEntry {
    /// Epoch of the delta.
    pub epoch: u64,
    /// Name of the file in the checkpoint store.
    pub file: String,
    /// Length of the file in bytes.
    pub len: u64,
    /// Checksum (crc32) of the whole file.
    pub crc32: u32,
}

impl Delta {
    /// Writes the delta to a file in the store. Returns its entry for a manifest.
    ///
    /// # Errors
    /// When the store cannot write it.
    pub fn store(&self, store: &dyn CheckpointStore, incarnation: u64) -> Result<DeltaEntry, StateError> {
        let file = format!("deltas/{:020}-w{:03}-{incarnation:016x}.delta", self.epoch, self.worker);
        let encoded = DeltaFile::of(self);
        store.put_pieces(&file, &encoded.pieces())?;
        Ok(DeltaEntry { epoch: self.epoch, file, len: encoded.len, crc32: encoded.crc32 })
    }

    /// Writes the delta under the name `file`. Returns the length and the checksum of the file.
    pub(crate) fn put(&self, store: &dyn CheckpointStore, file: &str) -> Result<(u64, u32), StateError> {
        let encoded = DeltaFile::of(self);
        store.put_pieces(file, &encoded.pieces())?;
        Ok((encoded.len, encoded.crc32))
    }

    /// Reads a file that [`put`](Self::put) wrote.
    pub(crate) fn get(store: &dyn CheckpointStore, file: &str) -> Result<Self, StateError> {
        file::decode(store.get(file)?).map_err(|reason| StateError::Corrupt { file: store.locate(file), reason })
    }

    /// Reads the file of a manifest's entry.
    ///
    /// # Errors
    /// When the store cannot read the file. [`StateError::Corrupt`] with the file's name when the contents are not
    /// those that were written.
    pub fn load(store: &dyn CheckpointStore, entry: &DeltaEntry) -> Result<Self, StateError> {
        entry.read(store, file::decode)
    }
}

impl DeltaEntry {
    /// Reads the file, and checks that it is the one that was written.
    fn read(
        &self,
        store: &dyn CheckpointStore,
        decode: impl FnOnce(Vec<u8>) -> Result<Delta, String>,
    ) -> Result<Delta, StateError> {
        let bytes = store.get(&self.file)?;
        let corrupt = |reason: String| StateError::Corrupt { file: store.locate(&self.file), reason };
        let (len, crc32) = (bytes.len() as u64, crc32fast::hash(&bytes));
        if (len, crc32) != (self.len, self.crc32) {
            return Err(corrupt(self.differs(len, crc32)));
        }
        let delta = decode(bytes).map_err(corrupt)?;
        let other = |epoch| corrupt(format!("it is of epoch {epoch}, the manifest says {}", self.epoch));
        if delta.epoch == self.epoch { Ok(delta) } else { Err(other(delta.epoch)) }
    }

    /// Returns a text that says how a file of this length and checksum differs from the entry.
    pub(crate) fn differs(&self, len: u64, crc32: u32) -> String {
        let Self { len: wanted_len, crc32: wanted, .. } = self;
        if len == *wanted_len {
            format!("its checksum is {crc32:08x}, the manifest says {wanted:08x}")
        } else {
            format!("it has {len} bytes instead of {wanted_len}")
        }
    }
}

/// Returns the blobs of a stored delta, by name.
///
/// # Errors
/// As [`Delta::load`].
pub fn blobs_of(store: &dyn CheckpointStore, entry: &DeltaEntry) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
    entry.read(store, file::decode_blobs).map(|delta| delta.blobs)
}
