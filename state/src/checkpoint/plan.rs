//! The decision what a start restores, given the contents of the store. This module only reads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::history::{self, epoch_of, epoch_of_file, list_epochs};
use super::inspection::Inspection;
use super::manifest::Manifest;
use super::savepoint::{Savepoint, savepoint_place};
use super::store::CheckpointStore;
use crate::error::{StateError, advice, instead};
use crate::remedy::Remedy;

/// The choice what a start restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreFrom {
    /// The newest checkpoint, or nothing if there is none.
    Auto,
    /// Nothing. This is refused if the checkpoint directory has checkpoints.
    None,
    /// The checkpoint of this epoch.
    Epoch(u64),
    /// The checkpoint whose manifest is this file in the checkpoint directory.
    Path(PathBuf),
    /// A savepoint: the one of this name in the checkpoint directory, or in this folder if it has a `/`.
    Savepoint(PathBuf),
}

const SAVEPOINT: &str = "savepoint:";

impl FromStr for RestoreFrom {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "none" => Self::None,
            other => match other.strip_prefix(SAVEPOINT) {
                Some(at) => Self::Savepoint(PathBuf::from(at)),
                None => other.parse().map_or_else(|_| Self::Path(PathBuf::from(other)), Self::Epoch),
            },
        })
    }
}

impl fmt::Display for RestoreFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Epoch(epoch) => write!(f, "{epoch}"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Savepoint(at) => write!(f, "{SAVEPOINT}{}", at.display()),
        }
    }
}

/// The decision what a start restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestorePlan {
    /// Start with empty state, because there is nothing to restore.
    StartEmpty,
    /// Restore this checkpoint.
    From(Box<Manifest>),
}

/// Decides what a start restores, given the contents of the store. It only reads.
///
/// # Errors
/// When the requested checkpoint or savepoint is missing, incomplete, damaged, or of another job or number of key groups; when
/// [`RestoreFrom::None`] finds checkpoints; or when there are files of checkpoints but no manifest. An older checkpoint
/// is never used instead without the user's decision.
pub fn plan_restore(
    store: &dyn CheckpointStore,
    from: &RestoreFrom,
    job: &str,
    key_groups: u16,
) -> Result<RestorePlan, StateError> {
    let epochs = history::checkpoints(store)?;
    let mut inspection = Inspection::of(store);
    let epoch = match (from, epochs.last().copied()) {
        (RestoreFrom::Savepoint(at), _) => {
            let savepoint = open_savepoint(store, at, job, key_groups)?;
            return Ok(RestorePlan::From(Box::new(savepoint.manifest)));
        }
        (RestoreFrom::Auto, None) => return check_never_committed(store).map(|()| RestorePlan::StartEmpty),
        (RestoreFrom::None, None) => return Ok(RestorePlan::StartEmpty),
        (RestoreFrom::None, Some(newest)) => {
            let reason = format!(
                "restore is none, but \"{}\" holds checkpoints (the newest is epoch {newest}), and starting over would overwrite them: go on from the newest, or start over in an empty checkpoint directory",
                store.locate("manifests")
            );
            return Err(StateError::setting(reason, [Remedy::RestoreNewest, Remedy::StartOver]));
        }
        (RestoreFrom::Auto, Some(newest)) => history::newest_state(store, &epochs)?.unwrap_or(newest),
        (RestoreFrom::Epoch(epoch), _) if epochs.contains(epoch) => *epoch,
        (RestoreFrom::Epoch(epoch), _) => {
            let whole = inspection.whole(&epochs, job, key_groups)?;
            let (place, advice) = (store.locate("manifests"), advice(&whole));
            let reason = format!("restore is {epoch}, but there is no such checkpoint in \"{place}\"; {advice}");
            return Err(StateError::setting(reason, instead(&whole)));
        }
        (RestoreFrom::Path(path), _) => match epoch_of(path).filter(|epoch| epochs.contains(epoch)) {
            Some(epoch) => epoch,
            None => {
                let whole = inspection.whole(&epochs, job, key_groups)?;
                let (path, place, advice) = (path.display(), store.locate("manifests"), advice(&whole));
                let reason = format!("restore is \"{path}\", but that is not a manifest of \"{place}\"; {advice}");
                return Err(StateError::setting(reason, instead(&whole)));
            }
        },
    };
    let manifest = match Manifest::load(store, epoch) {
        Err(damaged @ StateError::Corrupt { .. }) => Err(vec![damaged.to_string()]),
        loaded => Ok(loaded?),
    };
    let faults = match manifest {
        Err(faults) => faults,
        Ok(manifest) => {
            check_fits(&manifest, job, key_groups, &store.locate(&Manifest::file(epoch)))?;
            let faults = inspection.faults(&manifest)?;
            if faults.is_empty() {
                return Ok(RestorePlan::From(Box::new(manifest)));
            }
            faults
        }
    };
    let others: Vec<u64> = epochs.into_iter().filter(|other| *other != epoch).collect();
    Err(StateError::Incomplete { epoch, missing: faults, others: inspection.whole(&others, job, key_groups)? })
}

/// Opens a savepoint, and reads every byte of it. Checks that it fits the job, and that the job's store has no checkpoints
/// of another one.
pub(super) fn open_savepoint(
    store: &dyn CheckpointStore,
    at: &Path,
    job: &str,
    key_groups: u16,
) -> Result<Savepoint, StateError> {
    let place = savepoint_place(store.folder(), at).ok_or_else(|| {
        let reason = format!(
            "restore names the savepoint \"{}\", but the checkpoints are in no folder: give its path, with a \"/\"",
            at.display()
        );
        StateError::setting(reason, [Remedy::Setting("restore")])
    })?;
    let savepoint = Savepoint::open(&place)?;
    let manifest = &savepoint.manifest;
    check_fits(manifest, job, key_groups, &savepoint.store.locate(&Manifest::file(manifest.epoch)))?;
    if let Some(newest) = history::newest_state(store, &history::checkpoints(store)?)?
        && let Ok(there) = Manifest::load(store, newest)
    {
        check_fits(&there, job, key_groups, &store.locate(&Manifest::file(newest)))?;
    }
    savepoint.check()?;
    Ok(savepoint)
}

/// Checks, where there is no checkpoint, that none was ever committed. Files of an epoch that can only begin once
/// another is committed show that one was. Starts that found nothing have claimed numbers, too, so epochs are counted
/// from the last of these.
fn check_never_committed(store: &dyn CheckpointStore) -> Result<(), StateError> {
    let claimed = list_epochs(store)?.last().copied().unwrap_or(0);
    for folder in ["bases", "deltas"] {
        let newest = store.list(folder)?.into_iter().filter_map(|name| Some((epoch_of_file(&name)?, name))).max();
        if let Some((epoch, name)) = newest.filter(|(epoch, _)| *epoch > claimed + Manifest::MAX_OPEN_EPOCHS) {
            let (manifests, file) = (store.locate("manifests"), store.locate(&format!("{folder}/{name}")));
            return Err(StateError::NoManifest { manifests, file, epoch });
        }
    }
    Ok(())
}

fn check_fits(manifest: &Manifest, job: &str, key_groups: u16, file: &str) -> Result<(), StateError> {
    if manifest.job != job {
        let reason = format!(
            "checkpoint \"{file}\" belongs to job \"{}\", this is \"{job}\": run that program, or use another checkpoint directory",
            manifest.job
        );
        return Err(StateError::setting(reason, [Remedy::Setting("checkpoint_dir")]));
    }
    if manifest.key_groups != key_groups {
        let stored = manifest.key_groups;
        let reason = format!(
            "checkpoint \"{file}\" has {stored} key groups, but key_groups is {key_groups}: they are fixed for the life of a job's checkpoints"
        );
        return Err(StateError::setting(reason, [Remedy::KeyGroups(stored)]));
    }
    Ok(())
}
