//! Taking over a job: of two runs of a job with one checkpoint directory, the one that started last continues.
//!
//! ```text
//! manifests/  …  6  7  │ 8: claim of 7 │  9  10 …
//!                      └ a start puts it before it does anything else; its first epoch is 9
//! ```
//! A file of `manifests/` is created once, and runs commit their epochs in order. So a run that was there before, and
//! is paused or cut off, has to create number 8 before any later one, finds it taken, and stops: it is fenced. A claim
//! has a copy of the manifest that its start continues from (an empty one if there is none), so that the next start can
//! continue from the claim as well.
//!
//! SUBTLE: a start that is refused withdraws its claim, and the number is free again. A second start may have read that
//! claim meanwhile. So once its own claim is there, it checks that the file below is still the one that it read; if
//! not, it plans again. A run that creates a file below later sees the newer number and stops (`Manifest::commit`).
//!
//! A savepoint has no file in `manifests/`, so a start from one puts a claim with its manifest, and only then brings its
//! files into the store: what a claim names is not pruned. The claim does not count as the newest state as long as a
//! later checkpoint is there. Numbers go on after the epoch of the savepoint, which may be of another directory.
//!
//! Known limit: a run that is fenced notices it only when it commits next. Its work until then is lost.

use std::path::PathBuf;

use super::claim::{Claim, ManifestFile, Starter, claim_in, sha256};
use super::history::{checkpoints, epoch_of_file, list_epochs, newest_state};
use super::inspection::Inspection;
use super::manifest::Manifest;
use super::plan::{RestoreFrom, RestorePlan, open_savepoint, plan_restore};
use super::savepoint::Savepoint;
use super::store::CheckpointStore;
use crate::error::StateError;
use crate::remedy::Remedy;

/// Maximum number of errors after which a start tries again, because a file that it misses may just have been
/// withdrawn.
const REFUSALS: u32 = 4;
/// Maximum number of times that a start plans, because another run commits or claims meanwhile.
const TRIES: usize = 100;

/// A start's claim on the job, with the checkpoint that it continues from. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Takeover {
    /// Manifest of the checkpoint that is restored; `None` for a fresh start.
    pub manifest: Option<Manifest>,
    /// The first epoch that this start commits. Numbers are never used again.
    pub first_epoch: u64,
    /// The file in `manifests/` that has the restored manifest, for other processes of the job.
    pub found: ManifestFile,
    claim: Option<u64>,
    /// The claim that discards later epochs, put once nothing can stop the start.
    gives_up: Option<Claim>,
    /// The savepoint that is restored, if it is one.
    pub savepoint: Option<PathBuf>,
    /// The files of the savepoint that this start has brought into the store.
    brought: Vec<String>,
    incarnation: u64,
}

/// Decides what is restored and claims the next number. From then on no run that started earlier can commit an epoch.
///
/// # Errors
/// As [`plan_restore`]: then nothing is changed. Also when other starts claim numbers again and again.
pub fn take_over(
    store: &dyn CheckpointStore,
    from: &RestoreFrom,
    starter: &Starter<'_>,
) -> Result<Takeover, StateError> {
    let savepoint = match from {
        RestoreFrom::Savepoint(at) => Some(open_savepoint(store, at, starter.job, starter.key_groups)?),
        _ => None,
    };
    let (mut lost, mut refused) = (None, 0);
    for _ in 0..TRIES {
        let newest = list_epochs(store)?.last().copied();
        match try_to_take(store, from, savepoint.as_ref(), starter, newest) {
            Ok(Some(taken)) => return Ok(taken),
            Ok(None) => {}
            Err(fenced @ StateError::Fenced { .. }) => lost = Some(fenced),
            // A listed file may be a claim that another start has just withdrawn.
            Err(_) if refused < REFUSALS => refused += 1,
            Err(error) => return Err(error),
        }
    }
    Err(lost
        .unwrap_or_else(|| StateError::Contested { job: starter.job.to_owned(), manifests: store.locate("manifests") }))
}

/// Tries once to take over. Returns `None` if another run was there first or the files have changed since they were
/// read: then the caller tries again.
fn try_to_take(
    store: &dyn CheckpointStore,
    from: &RestoreFrom,
    savepoint: Option<&Savepoint>,
    starter: &Starter<'_>,
    newest: Option<u64>,
) -> Result<Option<Takeover>, StateError> {
    let below = newest.map(|newest| store.get(&Manifest::file(newest))).transpose()?;
    let restored = match savepoint {
        Some(savepoint) => Some(savepoint.manifest.clone()),
        None => match plan_restore(store, from, starter.job, starter.key_groups)? {
            RestorePlan::StartEmpty => None,
            RestorePlan::From(manifest) => Some(*manifest),
        },
    };
    let newest_state = newest_state(store, &checkpoints(store)?)?;
    let newest_state = newest_state.and_then(|number| Manifest::load(store, number).ok());
    let claim = newest.map_or(0, |newest| newest + 1).max(restored.as_ref().map_or(0, |restored| restored.epoch + 1));
    let goes_back = restored.is_some() && restored != newest_state;
    // As long as the start may be refused, the claim copies the newest state, so that this stays the newest. If that
    // cannot be read, the claim copies the restored manifest. So it does for a savepoint, which no other file has.
    let of = newest_state.filter(|_| goes_back && savepoint.is_none()).or_else(|| restored.clone());
    let taken = |found, first_epoch| Takeover {
        manifest: restored.clone(),
        first_epoch,
        found,
        claim: None,
        gives_up: None,
        savepoint: None,
        brought: Vec::new(),
        incarnation: starter.incarnation,
    };
    if let Some(manifest) = restored.as_ref().filter(|manifest| manifest.finished) {
        // A finished job has no further epochs, in any run, so there is nothing to claim.
        if let Some(found) = file_of(store, manifest)? {
            return Ok(Some(taken(found, manifest.epoch + 1)));
        }
        if savepoint.is_none() {
            return Ok(None);
        }
    }
    let found = Claim::new(starter, claim, of).put(store)?;
    let gives_up = goes_back.then(|| Claim { gives_up: true, ..Claim::new(starter, claim + 1, restored.clone()) });
    let first_epoch = claim + 1 + u64::from(goes_back);
    let taken = Takeover { claim: Some(claim), gives_up, ..taken(found, first_epoch) };
    if !still_below(store, claim, newest, below.as_deref())? {
        taken.withdraw(store)?;
        return Ok(None);
    }
    match savepoint {
        Some(savepoint) => taken.with_files_of(savepoint, store).map(Some),
        None => taken.with_file_of_restored(store),
    }
}

/// Returns the file that has this manifest: its own, or a claim with a copy of it.
fn file_of(store: &dyn CheckpointStore, manifest: &Manifest) -> Result<Option<ManifestFile>, StateError> {
    let found = |number: &u64| -> Option<ManifestFile> {
        let bytes = store.get(&Manifest::file(*number)).ok()?;
        let same = Manifest::read(store, *number, &bytes).is_ok_and(|found| found == *manifest);
        same.then(|| ManifestFile { number: *number, sha256: sha256(&bytes) })
    };
    Ok(list_epochs(store)?.iter().find_map(found))
}

/// Returns whether `claim` is the newest number, and the file below it is still the one that was read.
fn still_below(
    store: &dyn CheckpointStore,
    claim: u64,
    newest: Option<u64>,
    read: Option<&[u8]>,
) -> Result<bool, StateError> {
    let (below, above): (Vec<u64>, Vec<u64>) =
        list_epochs(store)?.into_iter().filter(|number| *number != claim).partition(|number| *number < claim);
    if !above.is_empty() || below.last().is_some_and(|last| Some(*last) > newest) {
        return Ok(false);
    }
    // A run that creates a file below from now on sees this claim and stops.
    let now = newest.map(|newest| store.get(&Manifest::file(newest)).ok()).map(Option::unwrap_or_default);
    Ok(now.as_deref() == read)
}

impl Takeover {
    /// Brings the files of a savepoint into the store.
    fn with_files_of(mut self, savepoint: &Savepoint, store: &dyn CheckpointStore) -> Result<Self, StateError> {
        match savepoint.import(store) {
            Ok(brought) => {
                self.brought = brought;
                self.savepoint = Some(savepoint.place.clone());
                Ok(self)
            }
            Err(error) => {
                self.withdraw(store)?;
                Err(error)
            }
        }
    }

    /// Sets `found` for a start that goes back to an older epoch: its manifest is in another file, not in the claim.
    /// Withdraws the claim and returns `None` if no file has it any more: a run that was fenced has deleted it since it
    /// was read, so this start does not go back after all.
    fn with_file_of_restored(mut self, store: &dyn CheckpointStore) -> Result<Option<Self>, StateError> {
        let (Some(_), Some(manifest)) = (&self.gives_up, &self.manifest) else { return Ok(Some(self)) };
        match file_of(store, manifest)? {
            Some(found) => {
                self.found = found;
                Ok(Some(self))
            }
            None => self.withdraw(store).map(|()| None),
        }
    }

    /// Returns the epoch whose state is restored, or 0 for a fresh start.
    #[must_use]
    pub fn restored_epoch(&self) -> u64 {
        self.manifest.as_ref().map_or(0, |manifest| manifest.epoch)
    }

    /// Discards the later epochs if this start continues from an older one. To be called when nothing can refuse the
    /// start any more.
    ///
    /// # Errors
    /// When another start has taken over meanwhile, or the store refuses.
    pub fn give_up_later(&self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        let Some(claim) = &self.gives_up else { return Ok(()) };
        claim.put(store)?;
        let given_up =
            list_epochs(store)?.into_iter().filter(|later| (claim.of.epoch + 1..claim.claim).contains(later));
        given_up.filter(|later| *later != self.found.number).try_for_each(|later| {
            tracing::warn!(epoch = later, "a later checkpoint is discarded, because an older one is restored");
            store.delete(&Manifest::file(later))
        })
    }

    /// Deletes the savepoint that this start has continued from, as it is the job's now. To be called when nothing can
    /// refuse the start any more: the claim names its files in the store, where they are checked once more.
    ///
    /// # Errors
    /// When a file is not in the store. Then the savepoint is still there.
    pub fn delete_savepoint(&self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        let (Some(place), Some(manifest)) = (&self.savepoint, &self.manifest) else { return Ok(()) };
        let missing = Inspection::of(store).faults(manifest)?;
        if !missing.is_empty() {
            return Err(StateError::Incomplete { epoch: manifest.epoch, missing, others: Vec::new() });
        }
        if let Err(error) = Savepoint::open(place).and_then(Savepoint::delete) {
            let place = place.display();
            tracing::warn!(%error, %place, "the savepoint is no longer needed, but could not be deleted");
        }
        Ok(())
    }

    /// Returns whether there are deltas of epochs after the restored one that are not of this start: a run that was
    /// killed, or one that still runs, had begun these epochs.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn is_followed(&self, store: &dyn CheckpointStore) -> Result<bool, StateError> {
        let names = store.list("deltas")?;
        let last = list_epochs(store)?.into_iter().rfind(|number| Some(*number) != self.claim);
        let last = last.unwrap_or(0).max(self.restored_epoch());
        Ok(names.iter().filter_map(|name| epoch_of_file(name)).any(|epoch| epoch > last))
    }

    /// Withdraws the claim of a start that was refused and has changed nothing else, so that an earlier run may
    /// continue.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn withdraw(&self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        let Some(file) = self.claim.map(Manifest::file) else { return Ok(()) };
        let claim = store.get(&file).ok().and_then(|bytes| claim_in(&bytes)?.ok());
        match claim {
            Some(claim) if claim.incarnation == self.incarnation => {
                store.delete(&file)?;
                self.brought.iter().try_for_each(|name| store.delete(name))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the manifest that a process restores if it is not the leader: exactly the one in the leader's file, which
/// must be in this process's checkpoint directory as well. Returns `None` for a fresh start.
///
/// # Errors
/// When the file is missing, has other contents, or is damaged.
pub fn follow(store: &dyn CheckpointStore, found: &ManifestFile) -> Result<Option<Manifest>, StateError> {
    let file = Manifest::file(found.number);
    let differs = |here: String| {
        let reason = format!(
            "the leader restores \"{file}\" of its checkpoint directory (SHA-256 {}), and \"{}\" here {here}: all processes of a job need the same checkpoint directory, shared by all",
            found.sha256,
            store.locate(&file)
        );
        StateError::setting(reason, [Remedy::Setting("checkpoint_dir")])
    };
    if store.len(&file)?.is_none() {
        return Err(differs("is not there".to_owned()));
    }
    let bytes = store.get(&file)?;
    let here = sha256(&bytes);
    if here != found.sha256 {
        return Err(differs(format!("is another file (SHA-256 {here})")));
    }
    let manifest = Manifest::read(store, found.number, &bytes)?;
    Ok((manifest.epoch > 0).then_some(manifest))
}

#[cfg(test)]
mod tests;
