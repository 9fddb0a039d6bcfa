//! The start of a job from the checkpoint store, before the workers run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tidemill_state::{
    Changes, CheckpointStore, ClaimMode, ControlEntry, DeltaEntry, Manifest, ManifestFile, RestoreFrom, Retention,
    Starter, Takeover, blobs_of,
};

use super::blobs::{Blob, Fault};
use super::leader::Chain;
use super::restored::Restored;
use super::target::Target;
use crate::error::{JobError, Remedy, with_causes};
use crate::time::Epoch;

/// The point from which the job starts: a restored checkpoint, or nothing.
pub(crate) struct StartingPoint {
    pub(crate) target: Option<Target>,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) restored: Arc<Restored>,
    /// The control log of the restored checkpoint, with the names that the program has.
    pub(crate) control: Vec<ControlEntry>,
    /// The first epoch of this incarnation.
    pub(crate) first_epoch: Epoch,
    /// Whether the first checkpoint must name no file of the restored one, which is a savepoint that stays the user's.
    pub(crate) stands_alone: bool,
    /// The claim of this process on the checkpoint directory, if it is the one that decides.
    taken: Option<Takeover>,
    /// Whether sinks have begun to recover: to publish or remove output of the previous run.
    pub(crate) recovering: AtomicBool,
    /// Whether nothing can stop the start any more.
    pub(crate) begun: AtomicBool,
}

/// The starting point of all processes, as process 0 has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    /// The incarnation of process 0, which decided.
    pub(crate) run: u64,
    /// The first epoch of this run.
    pub(crate) first_epoch: u64,
    /// The file in the checkpoint directory that determines what is restored; `None` without a checkpoint directory.
    pub(crate) found: Option<ManifestFile>,
    /// Whether the first checkpoint must name no file of the restored one.
    pub(crate) stands_alone: bool,
}

/// The job that is to be started, as far as the starting point depends on it.
pub(crate) struct Starting<'a> {
    pub(crate) job: &'a str,
    pub(crate) restore: &'a RestoreFrom,
    pub(crate) claim_mode: ClaimMode,
    pub(crate) key_groups: u16,
    pub(crate) changes: Changes,
    /// Number of checkpoints that are kept.
    pub(crate) keep: usize,
    pub(crate) incarnation: u64,
    pub(crate) now_ms: i64,
    pub(crate) store: Option<Arc<dyn CheckpointStore>>,
}

impl StartingPoint {
    /// Returns the epoch whose state is restored; 0 on a fresh start.
    pub(crate) fn restored_epoch(&self) -> Epoch {
        Epoch(self.manifest.as_ref().map_or(0, |manifest| manifest.epoch))
    }

    /// Returns the files that each of `workers` workers adds deltas to. They are those of the restored checkpoint if it
    /// is of as many workers.
    pub(crate) fn chains(&self, workers: usize) -> Vec<Chain> {
        let same = self.manifest.as_ref().filter(|manifest| manifest.workers.len() == workers);
        same.map_or_else(
            || vec![Chain::default(); workers],
            |manifest| manifest.workers.iter().cloned().map(Chain).collect(),
        )
    }

    /// Returns the agreement that the other processes have to start from.
    pub(crate) fn agreement(&self, run: u64) -> Agreement {
        let found = self.taken.as_ref().map(|taken| taken.found.clone());
        Agreement { run, first_epoch: self.first_epoch.0, found, stands_alone: self.stands_alone }
    }

    /// Begins the run, once nothing can stop the start any more: epochs after the restored one are given up, and a
    /// savepoint that is the job's now is deleted.
    pub(crate) fn begin(&self) -> Result<(), JobError> {
        if let (Some(taken), Some(target)) = (&self.taken, &self.target) {
            taken.give_up_later(target.store.as_ref())?;
            if !self.stands_alone {
                taken.delete_savepoint(target.store.as_ref())?;
            }
        }
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Withdraws the claim of a start that was refused, so that the previous run may go on, unless its uncommitted
    /// output may have been removed already.
    pub(crate) fn give_back(&self, is_alone: bool) {
        let (Some(taken), Some(target)) = (&self.taken, &self.target) else { return };
        let touched = self.recovering.load(Ordering::Relaxed);
        if self.begun.load(Ordering::Relaxed) || (touched && !is_alone) {
            return;
        }
        let store = target.store.as_ref();
        let given_back = match touched && taken.is_followed(store).unwrap_or(true) {
            true => Ok(()),
            false => taken.withdraw(store),
        };
        if let Err(error) = given_back {
            tracing::warn!(
                error = with_causes(&error),
                "the start was refused, and its claim could not be withdrawn; the next start can continue from it"
            );
        }
    }
}

/// Decides the starting point, and takes over from the run before. If this is refused, nothing has been changed.
pub(crate) fn lead(starting: &Starting<'_>) -> Result<StartingPoint, JobError> {
    let Starting { job, restore, key_groups, incarnation, now_ms, store, .. } = starting;
    let Some(store) = store else {
        if !matches!(restore, RestoreFrom::Auto | RestoreFrom::None) {
            let reason = "restore names a checkpoint or a savepoint, but checkpoint_dir is not set: set it to the directory that has, or is to have, the job's checkpoints";
            return Err(JobError::setting(reason, [Remedy::Setting("checkpoint_dir")]));
        }
        return starting.from(None, Epoch(1), false, None);
    };
    let (key_groups, incarnation, now_ms) = (*key_groups, *incarnation, *now_ms);
    let starter = Starter { job, key_groups, incarnation, now_ms };
    let taken = tidemill_state::take_over(store.as_ref(), restore, &starter)?;
    let (manifest, first_epoch) = (taken.manifest.clone(), Epoch(taken.first_epoch));
    let stands_alone = taken.savepoint.is_some() && starting.claim_mode == ClaimMode::NoClaim;
    let start = starting.from(manifest, first_epoch, stands_alone, Some(taken.clone()));
    start.inspect_err(|_| drop(taken.withdraw(store.as_ref())))
}

/// Returns the starting point that process 0 has decided.
pub(crate) fn follow(starting: &Starting<'_>, agreement: &Agreement) -> Result<StartingPoint, JobError> {
    let manifest = match (&starting.store, &agreement.found) {
        (Some(store), Some(found)) => tidemill_state::follow(store.as_ref(), found)?,
        (None, None) => None,
        _ => {
            let reason = "checkpoint_dir must be given to all processes or to none";
            return Err(JobError::setting(reason, [Remedy::Setting("checkpoint_dir")]));
        }
    };
    starting.from(manifest, Epoch(agreement.first_epoch), agreement.stands_alone, None)
}

impl Starting<'_> {
    fn from(
        &self,
        manifest: Option<Manifest>,
        first_epoch: Epoch,
        stands_alone: bool,
        taken: Option<Takeover>,
    ) -> Result<StartingPoint, JobError> {
        let Self { changes, keep, incarnation, store, .. } = self;
        let restored = match (&manifest, store) {
            (Some(manifest), Some(store)) => renamed(changes, manifest, read_blobs(store.as_ref(), manifest)?)?,
            _ => {
                changes.check(&BTreeSet::new(), &BTreeSet::new())?;
                Restored::default()
            }
        };
        let control = manifest.as_ref().map_or_else(Vec::new, |manifest| log(changes, manifest));
        let retention = Retention { keep: *keep };
        let target = store.clone().map(|store| Target { store, retention, incarnation: *incarnation });
        Ok(StartingPoint {
            target,
            manifest: manifest.map(Arc::new),
            restored: Arc::new(restored),
            control,
            first_epoch,
            stands_alone,
            taken,
            recovering: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        })
    }
}

/// Reads the values of the restored epoch, and the staged output of older epochs that may be unpublished.
fn read_blobs(store: &dyn CheckpointStore, manifest: &Manifest) -> Result<Restored, JobError> {
    let mut restored = Restored::default();
    for (worker, entry) in manifest.workers.iter().enumerate() {
        let newest = entry.deltas.iter().find(|delta| delta.epoch == manifest.epoch);
        let newest = newest.map(|delta| blobs_in(store, worker, delta)).transpose()?.unwrap_or_default();
        let published = newest.iter().find_map(|(_, blob)| match blob {
            Blob::Published(epoch) => Some(epoch.0),
            _ => None,
        });
        // Sinks that are ahead of the slowest one.
        let ahead: BTreeMap<String, Epoch> = newest.iter().filter_map(published_by_sink).collect();
        let older = entry.deltas.iter().filter(|d| d.epoch > published.unwrap_or(0) && d.epoch < manifest.epoch);
        for delta in older {
            let staged = blobs_in(store, worker, delta)?.into_iter().filter(|(owner, blob)| match blob {
                Blob::Staged(epoch, _) => ahead.get(owner).is_none_or(|published| epoch > published),
                _ => false,
            });
            staged.for_each(|(owner, blob)| restored.add(&owner, blob));
        }
        newest.into_iter().for_each(|(owner, blob)| restored.add(&owner, blob));
    }
    Ok(restored)
}

fn published_by_sink((owner, blob): &(String, Blob)) -> Option<(String, Epoch)> {
    match blob {
        Blob::PublishedBySink(epoch) => Some((owner.clone(), *epoch)),
        _ => None,
    }
}

/// Reads the values of one delta, with their owners.
fn blobs_in(store: &dyn CheckpointStore, worker: usize, delta: &DeltaEntry) -> Result<Vec<(String, Blob)>, JobError> {
    let read = |(name, bytes): (String, Vec<u8>)| match Blob::decode(&name, &bytes) {
        Ok((owner, blob)) => Ok((owner.to_owned(), blob)),
        Err(Fault { what, reason }) => Err(JobError::Unreadable { what, worker, epoch: delta.epoch, reason }),
    };
    blobs_of(store, delta)?.into_iter().map(read).collect()
}

/// Checks the changes of names against a checkpoint, and moves its values to their new owners.
fn renamed(changes: &Changes, manifest: &Manifest, restored: Restored) -> Result<Restored, JobError> {
    let states: BTreeSet<String> = manifest.states.iter().map(|state| state.name.clone()).collect();
    let in_states = states.iter().filter_map(|state| state.split('/').next());
    let changed = manifest.control.iter().map(|entry| &*entry.operator);
    let operators = in_states.chain(restored.owners()).chain(changed).map(str::to_owned).collect();
    changes.check(&states, &operators)?;
    for state in states.iter().filter(|state| changes.state(state).is_none()) {
        tracing::warn!(state, "the state is discarded, as drop_state says");
    }
    Ok(restored.renamed(changes))
}

/// Returns the control log of a checkpoint with the names that the program has, without what is to be dropped.
fn log(changes: &Changes, manifest: &Manifest) -> Vec<ControlEntry> {
    let now = |entry: &ControlEntry| {
        let operator = changes.operator(&entry.operator)?.to_owned();
        Some(ControlEntry { operator, ..entry.clone() })
    };
    manifest.control.iter().filter_map(now).collect()
}

#[cfg(test)]
mod tests;
