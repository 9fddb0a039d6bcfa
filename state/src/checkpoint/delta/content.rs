//! What one worker changed in one epoch, in memory and as a file.
//!
//! ```text
//! file     "TMDELTA2" [len of body u64 LE] [body] [crc32 of body u32 LE]
//! body     [epoch][worker]
//!          [blobs]    { [name] [value] } …
//!          [sections] { [state] [ops] } …
//! (numbers as in `lengths.rs`; texts and bytes with their length in front; ops as in `ops.rs`)
//! ```
//! Decoding never panics and allocates no more than the file has: the checksum is verified before anything is read, and
//! every length is compared with what is there. Files of before ("TMDELTA1", lengths of 32 bits) are read: `old.rs`.

mod file;
mod lengths;
mod old;
mod ops;

use std::collections::BTreeMap;

use file::DeltaFile;
use serde::{Deserialize, Serialize};

pub use self::ops::{Elements, Op, Ops};
use crate::checkpoint::store::CheckpointStore;
use crate::error::StateError;

/// What one worker changed in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    epoch: u64,
    worker: u32,
    blobs: BTreeMap<String, Vec<u8>>,
    sections: BTreeMap<String, Ops>,
}

/// A delta file as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaEntry {
    /// The epoch it is of.
    pub epoch: u64,
    /// Its name in the checkpoint store.
    pub file: String,
    /// Its length in bytes.
    pub len: u64,
    /// Checksum of the whole file.
    pub crc32: u32,
}

impl Delta {
    /// An empty delta.
    #[must_use]
    pub fn new(epoch: u64, worker: u32) -> Self {
        Self { epoch, worker, blobs: BTreeMap::new(), sections: BTreeMap::new() }
    }

    /// The epoch it is of.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Sets a small value that is written whole each epoch: a source's position, staged output.
    pub fn set_blob(&mut self, name: String, value: Vec<u8>) {
        self.blobs.insert(name, value);
    }

    pub(crate) fn set_section(&mut self, state: String, ops: Ops) {
        self.sections.insert(state, ops);
    }

    /// What a program with other names reads of it: each state by the name that `name` gives it, or not at all.
    pub(crate) fn with_names(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        let sections = std::mem::take(&mut self.sections).into_iter();
        self.sections = sections.filter_map(|(state, ops)| Some((name(&state)?, ops))).collect();
        self
    }

    #[cfg(test)]
    pub(crate) fn section(&mut self, state: &str) -> &mut Ops {
        self.sections.entry(state.to_owned()).or_default()
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = (&str, &Ops)> {
        self.sections.iter().map(|(state, ops)| (state.as_str(), ops))
    }

    /// Bytes of changes.
    #[must_use]
    pub fn ops_len(&self) -> usize {
        self.sections.values().map(Ops::len).sum()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn store(&self, store: &dyn CheckpointStore, incarnation: u64) -> Result<DeltaEntry, StateError> {
        let file = format!("deltas/{:020}-w{:03}-{incarnation:016x}.delta", self.epoch, self.worker);
        let encoded = DeltaFile::of(self);
        store.put_pieces(&file, &encoded.pieces())?;
        Ok(DeltaEntry { epoch: self.epoch, file, len: encoded.len, crc32: encoded.crc32 })
    }

    /// Writes it under a name of its own. Returns the length of the file.
    pub(crate) fn put(&self, store: &dyn CheckpointStore, file: &str) -> Result<u64, StateError> {
        let encoded = DeltaFile::of(self);
        store.put_pieces(file, &encoded.pieces())?;
        Ok(encoded.len)
    }

    /// Reads what [`put`](Self::put) wrote.
    pub(crate) fn get(store: &dyn CheckpointStore, file: &str) -> Result<Self, StateError> {
        file::decode(&store.get(file)?).map_err(|reason| StateError::Corrupt { file: store.locate(file), reason })
    }

    /// Reads the file that a manifest names.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] naming the file when it is not what was written.
    pub fn load(store: &dyn CheckpointStore, entry: &DeltaEntry) -> Result<Self, StateError> {
        let bytes = store.get(&entry.file)?;
        let corrupt = |reason: String| StateError::Corrupt { file: store.locate(&entry.file), reason };
        let (len, crc32) = (bytes.len() as u64, crc32fast::hash(&bytes));
        if (len, crc32) != (entry.len, entry.crc32) {
            return Err(corrupt(entry.differs(len, crc32)));
        }
        let delta = file::decode(&bytes).map_err(corrupt)?;
        let other = |epoch| corrupt(format!("it is of epoch {epoch}, the manifest says {}", entry.epoch));
        if delta.epoch == entry.epoch { Ok(delta) } else { Err(other(delta.epoch)) }
    }
}

impl DeltaEntry {
    /// What is wrong with a file of this length and checksum.
    pub(crate) fn differs(&self, len: u64, crc32: u32) -> String {
        let Self { len: wanted_len, crc32: wanted, .. } = self;
        if len == *wanted_len {
            format!("its checksum is {crc32:08x}, the manifest says {wanted:08x}")
        } else {
            format!("it has {len} bytes instead of {wanted_len}")
        }
    }
}

/// The blobs of a stored delta, by name.
///
/// # Errors
/// As [`Delta::load`].
pub fn blobs_of(store: &dyn CheckpointStore, entry: &DeltaEntry) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
    Delta::load(store, entry).map(|delta| delta.blobs)
}
