//! Which checkpoints are kept, and which files go with the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::history::{epoch_of_file, list_epochs, part_claims};
use super::manifest::{Manifest, WorkerEntry};
use super::store::CheckpointStore;
use crate::error::StateError;

/// How many checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest this many.
    pub keep: usize,
}

impl Retention {
    /// Deletes older manifests, then every file below the newest epoch that no kept manifest names. A
    /// crash in between leaves files that the next call deletes.
    ///
    /// # Errors
    /// When the store cannot be listed or refuses.
    pub fn prune(self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        Pruning::new(self).prune(store).map(drop)
    }
}

/// Prunes after each commit. Knows which files the kept manifests name, so that it reads each of them once.
#[derive(Debug)]
pub struct Pruning {
    retention: Retention,
    /// By epoch: deltas, and folders of bases.
    kept: BTreeMap<u64, Vec<String>>,
    /// How many of the kept ones name a file.
    named: BTreeMap<String, usize>,
}

impl Pruning {
    /// Keeps as many.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self { retention, kept: BTreeMap::new(), named: BTreeMap::new() }
    }

    /// Takes in what was just committed, which then need not be read.
    pub fn committed(&mut self, manifest: &Manifest) {
        if !self.kept.contains_key(&manifest.epoch) {
            self.keep(manifest.epoch, names_of(manifest));
        }
    }

    fn keep(&mut self, epoch: u64, files: Vec<String>) {
        files.iter().for_each(|file| *self.named.entry(file.clone()).or_default() += 1);
        self.kept.insert(epoch, files);
    }

    /// As [`Retention::prune`]. Returns the epochs whose manifests are gone or damaged although they were to be kept.
    ///
    /// # Errors
    /// When the store cannot be listed or refuses.
    pub fn prune(&mut self, store: &dyn CheckpointStore) -> Result<Vec<u64>, StateError> {
        let is_known = |number| self.kept.contains_key(&number);
        let (mut claims, epochs) = part_claims(store, list_epochs(store)?, is_known)?;
        let (old, kept) = epochs.split_at(epochs.len().saturating_sub(self.retention.keep));
        let Some(newest) = kept.last() else { return Ok(self.forget_all_but(kept)) };
        // Another start's, that this run has not noticed yet; it may be withdrawn, and then this one goes on.
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
                // Files of later epochs are being written, and no manifest names them yet.
                let is_older = epoch_of_file(&name).is_some_and(|epoch| epoch <= *newest);
                if is_older && !self.named.contains_key(&path) && !claimed.contains(&path) {
                    store.delete(&path)?;
                }
            }
        }
        Ok(lost)
    }

    /// Returns which of those it had known are not to be kept or not there.
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

    /// Returns which of those it reads for the first time are damaged or gone: they keep nothing.
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
                // It was removed since it was listed.
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
