//! The manifest of an epoch: what a checkpoint consists of, and what a start makes of it.

pub(crate) mod json;
mod plan;
mod retention;
mod whole;

use serde::{Deserialize, Serialize};

pub use self::plan::{RestoreFrom, RestorePlan, plan_restore};
pub use self::retention::{Pruning, Retention};
pub use self::whole::{LostFile, Watch};
use crate::checkpoint::delta::DeltaEntry;
use crate::checkpoint::store::{BaseEntry, CheckpointStore};
use crate::checkpoint::take_over;
use crate::error::StateError;
use crate::evolve::spec::StateEntry;

/// Everything that a checkpoint consists of. Its file is the commit point of the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub format_version: u32,
    /// The job it is of.
    pub job: String,
    /// The epoch it commits.
    pub epoch: u64,
    /// Which start of the job wrote it.
    pub incarnation: u64,
    /// When, ms since the Unix epoch.
    pub created_ms: i64,
    /// Key groups of the job.
    pub key_groups: u16,
    /// The states it holds.
    pub states: Vec<StateEntry>,
    /// The files of each worker.
    pub workers: Vec<WorkerEntry>,
    /// Whether the job's input had ended and everything had fired.
    pub finished: bool,
}

/// The files of one worker: its state is the base and the deltas after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// The base snapshot, if one was taken.
    pub base: Option<BaseEntry>,
    /// Deltas in the order of epochs. Those up to the base's epoch are kept for their blobs only.
    pub deltas: Vec<DeltaEntry>,
}

impl WorkerEntry {
    /// The deltas whose changes come on top of the base.
    pub fn deltas_to_apply(&self) -> impl Iterator<Item = &DeltaEntry> {
        let base = self.base.as_ref().map_or(0, |base| base.epoch);
        self.deltas.iter().filter(move |delta| delta.epoch > base)
    }
}

impl Manifest {
    /// What this build writes. It reads 1 as well, which had no checksum.
    pub const FORMAT_VERSION: u32 = 2;
    /// The most epochs that may be open: ended by the sources and not committed, or running.
    pub const MAX_OPEN_EPOCHS: u64 = 4;

    pub(crate) fn file(epoch: u64) -> String {
        format!("manifests/{epoch:020}.json")
    }

    /// Puts the manifest: from now on the epoch is committed.
    ///
    /// # Errors
    /// [`StateError::Fenced`] when another incarnation has committed this epoch.
    pub fn commit(&self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        let (json, file) = (json::encode(self)?, Self::file(self.epoch));
        store
            .put_new(&file, json.as_bytes())
            .map_err(|error| error.by(|file| take_over::describe(store, file), &file))?;
        // SUBTLE: the place of a zombie's epoch may be free because another incarnation committed it, went on and
        // pruned it. Then a newer one is there by now: looking before would miss one that comes in between.
        let newer = list_epochs(store)?.into_iter().rfind(|epoch| *epoch > self.epoch);
        match newer {
            None => Ok(()),
            Some(newer) => {
                store.delete(&file)?;
                let newer = Self::file(newer);
                Err(StateError::Fenced { file: store.locate(&newer), by: take_over::describe(store, &newer) })
            }
        }
    }

    /// Reads what `manifests/` has under a number: a manifest, or a start's claim, which has the one that it goes on from.
    pub(crate) fn load(store: &dyn CheckpointStore, number: u64) -> Result<Self, StateError> {
        Self::read(store, number, &store.get(&Self::file(number))?)
    }

    /// As [`load`](Self::load), of what was read from the file.
    pub(crate) fn read(store: &dyn CheckpointStore, number: u64, bytes: &[u8]) -> Result<Self, StateError> {
        let corrupt = |reason: String| StateError::Corrupt { file: store.locate(&Self::file(number)), reason };
        if let Some(claimed) = take_over::claimed(bytes) {
            return claimed.map_err(corrupt);
        }
        let manifest = json::decode(bytes).map_err(corrupt)?;
        if manifest.epoch == number { Ok(manifest) } else { Err(corrupt(format!("it is of epoch {}", manifest.epoch))) }
    }
}

pub(crate) fn list_epochs(store: &dyn CheckpointStore) -> Result<Vec<u64>, StateError> {
    let names = store.list("manifests")?;
    let mut epochs: Vec<u64> = names.iter().filter_map(|name| epoch_of(name.as_ref())).collect();
    epochs.sort_unstable();
    Ok(epochs)
}

fn epoch_of(path: &std::path::Path) -> Option<u64> {
    path.extension().filter(|e| *e == "json").and(path.file_stem())?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests;
