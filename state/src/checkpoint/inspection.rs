//! Checks that checkpoints are complete: all files at a start, and a few at a time while the job runs.

use std::collections::BTreeMap;

use super::delta::DeltaEntry;
use super::manifest::{Manifest, WorkerEntry};
use super::store::CheckpointStore;
use crate::error::StateError;
use crate::threads;

/// Size of deltas up to which one thread reads them.
const READ_BY_ONE_BYTES: u64 = 16 << 20;

/// A file of a checkpoint, as named in a manifest.
enum Named<'m> {
    Delta(&'m DeltaEntry),
    /// A file of a base. It has RocksDB's own checksums.
    OfBase {
        file: String,
        len: u64,
    },
}

impl WorkerEntry {
    fn named(&self) -> impl Iterator<Item = Named<'_>> {
        let of_base = self.base.iter().flat_map(|base| {
            let path = |name: &str| format!("{}/{name}", base.dir);
            base.files.iter().map(move |file| Named::OfBase { file: path(&file.name), len: file.len })
        });
        self.deltas.iter().map(Named::Delta).chain(of_base)
    }
}

/// An inspection of checkpoints' files. It reads each file once, because checkpoints share most of their files.
pub(super) struct Inspection<'s> {
    store: &'s dyn CheckpointStore,
    checksums: BTreeMap<String, Option<(u64, u32)>>,
    lengths: BTreeMap<String, Option<u64>>,
}

impl<'s> Inspection<'s> {
    pub(super) fn of(store: &'s dyn CheckpointStore) -> Self {
        Self { store, checksums: BTreeMap::new(), lengths: BTreeMap::new() }
    }

    /// Returns what is wrong with the files of a checkpoint, one text per file; none if the checkpoint is complete.
    pub(super) fn faults(&mut self, manifest: &Manifest) -> Result<Vec<String>, StateError> {
        self.read(manifest)?;
        let mut faults = Vec::new();
        for named in manifest.workers.iter().flat_map(WorkerEntry::named) {
            let (file, fault) = match named {
                Named::Delta(delta) => match self.checksums.get(&delta.file).copied().flatten() {
                    None => (delta.file.clone(), Some("is not there".to_owned())),
                    Some((len, crc32)) if (len, crc32) == (delta.len, delta.crc32) => continue,
                    Some((len, crc32)) => (delta.file.clone(), Some(delta.differs(len, crc32))),
                },
                Named::OfBase { file, len } => {
                    let fault = wrong_length(self.length(&file)?, len);
                    (file, fault)
                }
            };
            faults.extend(fault.map(|fault| format!("\"{}\": {fault}", self.store.locate(&file))));
        }
        Ok(faults)
    }

    /// Returns those of `epochs` whose checkpoints are complete and of this job, the newest first.
    pub(super) fn whole(&mut self, epochs: &[u64], job: &str, key_groups: u16) -> Result<Vec<u64>, StateError> {
        let mut whole = Vec::new();
        for epoch in epochs.iter().rev() {
            let Ok(manifest) = Manifest::load(self.store, *epoch) else { continue };
            if manifest.job == job && manifest.key_groups == key_groups && self.faults(&manifest)?.is_empty() {
                whole.push(*epoch);
            }
        }
        Ok(whole)
    }

    /// Reads the deltas of a checkpoint that were not read yet; many bytes with all processors, since nothing else runs yet.
    fn read(&mut self, manifest: &Manifest) -> Result<(), StateError> {
        let deltas = manifest.workers.iter().flat_map(|worker| &worker.deltas);
        let unread: Vec<&DeltaEntry> = deltas.filter(|delta| !self.checksums.contains_key(&delta.file)).collect();
        let bytes: u64 = unread.iter().map(|delta| delta.len).sum();
        let threads = if bytes > READ_BY_ONE_BYTES { threads::spare(1) } else { 1 };
        let found = threads::each(unread.len(), threads, |at| self.store.checksum(&unread[at].file));
        for (delta, found) in unread.iter().zip(found) {
            self.checksums.insert(delta.file.clone(), found?);
        }
        Ok(())
    }

    fn length(&mut self, file: &str) -> Result<Option<u64>, StateError> {
        if let Some(known) = self.lengths.get(file) {
            return Ok(*known);
        }
        let found = self.store.len(file)?;
        self.lengths.insert(file.to_owned(), found);
        Ok(found)
    }
}

fn wrong_length(found: Option<u64>, wanted: u64) -> Option<String> {
    match found {
        None => Some("is not there".to_owned()),
        Some(found) => (found != wanted).then(|| format!("it has {found} bytes instead of {wanted}")),
    }
}

/// A file that a running job's checkpoints need, but that is missing or has another length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// Epoch of the delta; `None` for a file of a base.
    pub delta_of: Option<u64>,
    /// Text that names the file and says what is wrong with it.
    pub what: String,
}

/// A check, repeated while the job runs, that the files of a worker's next checkpoint are still there. Each look covers
/// some files, a few looks cover all. A look reads only the length of each file, not its contents.
#[derive(Debug, Default)]
pub struct Watch {
    next: usize,
}

impl Watch {
    /// Number of files per look. It is more than a worker has deltas, so all files of a small state are covered each
    /// time.
    const FILES_AT_A_LOOK: usize = 128;

    /// Checks the next files. If one of them is missing, returns everything that is missing among all `files`.
    ///
    /// # Errors
    /// When the store is no longer in the place that was opened, or cannot be read.
    pub fn look(&mut self, store: &dyn CheckpointStore, files: &WorkerEntry) -> Result<Vec<MissingFile>, StateError> {
        store.check_place()?;
        let all: Vec<Named<'_>> = files.named().collect();
        let now = all.iter().cycle().skip(self.next).take(all.len().min(Self::FILES_AT_A_LOOK));
        let lost = lost_of(store, now)?;
        self.next = (self.next + Self::FILES_AT_A_LOOK) % all.len().max(1);
        if lost.is_empty() { Ok(lost) } else { lost_of(store, all.iter()) }
    }
}

fn lost_of<'n, 'm: 'n>(
    store: &dyn CheckpointStore,
    files: impl Iterator<Item = &'n Named<'m>>,
) -> Result<Vec<MissingFile>, StateError> {
    let mut lost = Vec::new();
    for named in files {
        let (file, len, delta_of) = match named {
            Named::Delta(delta) => (&delta.file, delta.len, Some(delta.epoch)),
            Named::OfBase { file, len } => (file, *len, None),
        };
        if let Some(fault) = wrong_length(store.len(file)?, len) {
            lost.push(MissingFile { delta_of, what: format!("\"{}\": {fault}", store.locate(file)) });
        }
    }
    Ok(lost)
}
