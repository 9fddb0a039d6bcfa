//! The numbered files of `manifests/`: the manifests that were committed, and the claims of starts.

use super::claim::{claim_in, describe};
use super::json;
use super::manifest::{self, Manifest};
use super::store::CheckpointStore;
use crate::error::StateError;

/// Maximum number of times that a file is read again because it seems to have been created anew since the last read.
const READS: u32 = 4;

impl Manifest {
    /// Commits the epoch, by creating the manifest's file.
    ///
    /// # Errors
    /// [`StateError::Fenced`] when another incarnation has committed or claimed this epoch or a later one.
    pub fn commit(&self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        let (json, file) = (json::encode(self)?, Self::file(self.epoch));
        store.put_new(&file, json.as_bytes()).map_err(|error| error.by(|file| describe(store, file), &file))?;
        // SUBTLE: a run that was taken over without noticing may find its number free because another incarnation
        // committed that epoch, continued and pruned it. Then a newer number is there by now. A check before the put
        // would miss a number that is created between the check and the put.
        let newer = list_epochs(store)?.into_iter().rfind(|epoch| *epoch > self.epoch);
        match newer {
            None => Ok(()),
            Some(newer) => {
                store.delete(&file)?;
                let newer = Self::file(newer);
                Err(StateError::Fenced { file: store.locate(&newer), by: describe(store, &newer) })
            }
        }
    }

    /// Returns the error of a run whose job another one has taken over: that has a file in `manifests/` from the first epoch of
    /// this run on. A store that cannot be read tells nothing.
    #[must_use]
    pub fn taken_over(store: &dyn CheckpointStore, incarnation: u64, first_epoch: u64) -> Option<StateError> {
        let newest = list_epochs(store).ok()?.pop().filter(|newest| *newest >= first_epoch)?;
        let file = Self::file(newest);
        let bytes = store.get(&file).ok()?;
        let other = match claim_in(&bytes) {
            Some(claim) => claim.ok()?.incarnation,
            None => manifest::decode(&bytes).ok()?.incarnation,
        };
        (other != incarnation).then(|| StateError::Fenced { file: store.locate(&file), by: describe(store, &file) })
    }

    /// Reads the manifest under a number of `manifests/`: a committed one, or the copy in a start's claim.
    pub(crate) fn load(store: &dyn CheckpointStore, number: u64) -> Result<Self, StateError> {
        Self::read(store, number, &store.get(&Self::file(number))?)
    }

    /// Decodes the manifest as [`load`](Self::load) does, from the bytes of the file.
    pub(crate) fn read(store: &dyn CheckpointStore, number: u64, bytes: &[u8]) -> Result<Self, StateError> {
        let corrupt = |reason: String| StateError::Corrupt { file: store.locate(&Self::file(number)), reason };
        if let Some(claim) = claim_in(bytes) {
            return claim.map(|claim| claim.of).map_err(corrupt);
        }
        let manifest = manifest::decode(bytes).map_err(corrupt)?;
        if manifest.epoch == number { Ok(manifest) } else { Err(corrupt(format!("it is of epoch {}", manifest.epoch))) }
    }
}

/// Returns the numbers in `manifests/`, in order.
pub(super) fn list_epochs(store: &dyn CheckpointStore) -> Result<Vec<u64>, StateError> {
    let names = store.list("manifests")?;
    let mut epochs: Vec<u64> = names.iter().filter_map(|name| epoch_of(name.as_ref())).collect();
    epochs.sort_unstable();
    Ok(epochs)
}

/// Returns the number in the name of a file of `manifests/`.
pub(super) fn epoch_of(path: &std::path::Path) -> Option<u64> {
    path.extension().filter(|e| *e == "json").and(path.file_stem())?.to_str()?.parse().ok()
}

/// Returns the epoch in the name of a delta or of a base's folder.
pub(super) fn epoch_of_file(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}

/// Splits numbers of `manifests/` into (claims of starts, checkpoints). Numbers that are `known` are checkpoints. A
/// file that was withdrawn since it was listed is neither: it must not be counted among the checkpoints that are kept.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn part_claims(
    store: &dyn CheckpointStore,
    numbers: Vec<u64>,
    known: impl Fn(u64) -> bool,
) -> Result<(Vec<u64>, Vec<u64>), StateError> {
    let (mut claims, mut checkpoints) = (Vec::new(), Vec::new());
    for number in numbers {
        if known(number) {
            checkpoints.push(number);
        } else if let Some(bytes) = get_unless_withdrawn(store, &Manifest::file(number))? {
            if claim_in(&bytes).is_some() { claims.push(number) } else { checkpoints.push(number) }
        }
    }
    Ok((claims, checkpoints))
}

/// Returns the contents of a file of `manifests/`, or `None` if it is not there any more.
///
/// SUBTLE: a file that could not be read but is there may be a claim that was withdrawn, and whose number another start
/// has claimed since. So it is read again.
fn get_unless_withdrawn(store: &dyn CheckpointStore, file: &str) -> Result<Option<Vec<u8>>, StateError> {
    let mut tries = 0;
    loop {
        match store.get(file) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(_) if store.len(file)?.is_none() => return Ok(None),
            Err(_) if tries < READS => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Returns the numbers of `manifests/` that a start can continue from: all without the first ones, as long as these are
/// claims of starts that found no checkpoint.
///
/// # Errors
/// When the store cannot be listed.
pub(super) fn checkpoints(store: &dyn CheckpointStore) -> Result<Vec<u64>, StateError> {
    let mut epochs = list_epochs(store)?;
    let of_nothing = |number: &u64| {
        let claim = store.get(&Manifest::file(*number)).ok().and_then(|bytes| claim_in(&bytes));
        claim.is_some_and(|claim| claim.is_ok_and(|claim| claim.of.epoch == 0))
    };
    let skip = epochs.iter().take_while(|number| of_nothing(number)).count();
    Ok(epochs.split_off(skip))
}

/// Returns which of these numbers has the newest state in its file.
///
/// SUBTLE: a claim may copy a manifest that was the newest only until a running job committed another one (the claim's
/// start has not noticed yet that it has to plan again, or died before it noticed). So a claim counts only if the
/// checkpoint that it copies is gone: a fenced run deletes the last manifest it created.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn newest_state(store: &dyn CheckpointStore, numbers: &[u64]) -> Result<Option<u64>, StateError> {
    let mut claimed: Option<(u64, u64)> = None;
    for number in numbers.iter().rev().copied() {
        let Some(bytes) = get_unless_withdrawn(store, &Manifest::file(number))? else { continue };
        let claim = claim_in(&bytes);
        let of = match claim {
            Some(Ok(claim)) if !claim.gives_up => {
                claimed = claimed.max(Some((claim.of.epoch, number)));
                continue;
            }
            // The claims above this one are copies of the same manifest.
            Some(Ok(_)) => return Ok(Some(number)),
            _ => number,
        };
        return Ok(Some(claimed.filter(|(epoch, _)| *epoch > of).map_or(number, |(_, number)| number)));
    }
    Ok(claimed.map(|(_, number)| number))
}
