//! The retention of checkpoints: how many are kept, and which files are deleted with the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::history::{epoch_of_file, list_epochs, part_claims};
use super::manifest::{Manifest, WorkerEntry};
use super::store::CheckpointStore;
use crate::error::StateError;

/// The number of checkpoints that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Number of checkpoints that are kept: the newest ones.
    pub keep: usize,
}

impl Retention {
    /// Deletes older manifests, then every file up to the newest epoch that no kept manifest names. After a crash in
    /// between, the next call deletes the remaining files.
    ///
    /// # Errors
    /// When the store cannot be listed or read, or refuses to delete.
    pub fn prune(self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        Pruning::new(self).prune(store).map(drop)
    }
}

/// The pruning of checkpoints after each commit. It remembers which files the kept manifests name, so that it reads
/// each manifest only once.
#[derive(Debug)]
pub struct Pruning {
    retention: Retention,
    /// The deltas and folders of bases that each kept manifest names, by epoch.
    kept: BTreeMap<u64, Vec<String>>,
    /// Number of kept manifests that name each file.
    named: BTreeMap<String, usize>,
}

impl Pruning {
    /// Creates a pruning that keeps the number of checkpoints in `retention`.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self { retention, kept: BTreeMap::new(), named: BTreeMap::new() }
    }

    /// Adds a manifest that was just committed, which then need not be read.
    pub fn committed(&mut self, manifest: &Manifest) {
        if !self.kept.contains_key(&manifest.epoch) {
            self.keep(manifest.epoch, names_of(manifest));
        }
    }

    fn keep(&mut self, epoch: u64, files: Vec<String>) {
        files.iter().for_each(|file| *self.named.entry(file.clone()).or_default() += 1);
        self.kept.insert(epoch, files);
    }

    /// Prunes as [`Retention::prune`] does. Returns the epochs whose manifests are missing or damaged although they
    /// should be kept.
    ///
    /// # Errors
    /// When the store cannot be listed or read, or refuses to delete.
    pub fn prune(&mut self, store: &dyn CheckpointStore) -> Result<Vec<u64>, StateError> {
        let is_known = |number| self.kept.contains_key(&number);
        let (mut claims, epochs) = part_claims(store, list_epochs(store)?, is_known)?;
        let (old, kept) = epochs.split_at(epochs.len().saturating_sub(self.retention.keep));
        let Some(newest) = kept.last() else { return Ok(self.forget_all_but(kept)) };
        // A later claim is of another start, which this run has not noticed yet. It stays: it may be withdrawn, and
        // then this run continues.
        let later = claims.split_off(claims.partition_point(|claim| claim < newest));
        let mut lost = self.forget_all_but(kept);
        lost.retain(|epoch| !old.contains(epoch));
        lost.extend(self.read_new_ones(store, kept)?);
        for number in claims.iter().chain(old) {
            store.delete(&Manifest::file(*number))?;
        }
        if old.is_empty() {
            return Ok(lost);
        }
        let claimed: BTreeSet<String> =
            later.iter().filter_map(|claim| Manifest::load(store, *claim).ok()).flat_map(|of| names_of(&of)).collect();
        for folder in ["deltas", "bases"] {
            for name in store.list(folder)? {
                let path = format!("{folder}/{name}");
                // Files of later epochs stay: they are being written, and no manifest names them yet.
                let is_older = epoch_of_file(&name).is_some_and(|epoch| epoch <= *newest);
                if is_older && !self.named.contains_key(&path) && !claimed.contains(&path) {
                    store.delete(&path)?;
                }
            }
        }
        Ok(lost)
    }

    /// Forgets all remembered epochs but `kept`, and returns the forgotten ones.
    fn forget_all_but(&mut self, kept: &[u64]) -> Vec<u64> {
        let gone: Vec<u64> = self.kept.keys().copied().filter(|epoch| kept.binary_search(epoch).is_err()).collect();
        for file in gone.iter().filter_map(|epoch| self.kept.remove(epoch)).flatten() {
            if let Entry::Occupied(mut naming) = self.named.entry(file) {
                *naming.get_mut() -= 1;
                if *naming.get() == 0 {
                    naming.remove();
                }
            }
        }
        gone
    }

    /// Reads the manifests of `kept` that are not remembered yet. Returns which of them are damaged or missing: they
    /// protect no files.
    fn read_new_ones(&mut self, store: &dyn CheckpointStore, kept: &[u64]) -> Result<Vec<u64>, StateError> {
        let mut damaged = Vec::new();
        for epoch in kept {
            if self.kept.contains_key(epoch) {
                continue;
            }
            let named = match Manifest::load(store, *epoch) {
                Ok(manifest) => names_of(&manifest),
                Err(StateError::Corrupt { .. }) => {
                    damaged.push(*epoch);
                    Vec::new()
                }
                // The manifest was removed since it was listed.
                Err(error) if error.is_not_found() => {
                    damaged.push(*epoch);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.keep(*epoch, named);
        }
        Ok(damaged)
    }
}

fn names_of(manifest: &Manifest) -> Vec<String> {
    let of_worker = |worker: &WorkerEntry| {
        let base = worker.base.iter().map(|base| base.dir.clone());
        worker.deltas.iter().map(|delta| delta.file.clone()).chain(base).collect::<Vec<_>>()
    };
    manifest.workers.iter().flat_map(of_worker).collect()
}
