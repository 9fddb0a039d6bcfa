//! The manifest of an epoch: what a checkpoint consists of, and what a start makes of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::delta::DeltaEntry;
use crate::error::StateError;
use crate::rows::Layout;
use crate::store::{BaseEntry, CheckpointStore};
use crate::take_over;

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

/// A state in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// `operator/state`.
    pub name: String,
    /// Version of its values.
    pub version: u8,
    /// `value`, `log`, `timers`, `held`.
    pub kind: String,
    /// What its rows look like; not told by manifests of 0.1.0 before states could evolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
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
    /// What this build writes and reads.
    pub const FORMAT_VERSION: u32 = 1;

    pub(crate) fn file(epoch: u64) -> String {
        format!("manifests/{epoch:020}.json")
    }

    /// Puts the manifest: from now on the epoch is committed.
    ///
    /// # Errors
    /// [`StateError::Fenced`] when another incarnation has committed this epoch.
    pub fn commit(&self, store: &dyn CheckpointStore) -> Result<(), StateError> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|e| StateError::Invalid(format!("a manifest cannot be written as JSON: {e}")))?;
        let file = Self::file(self.epoch);
        store.put_new(&file, &json).map_err(|error| error.by(|file| take_over::describe(store, file), &file))?;
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

    pub(crate) fn load(store: &dyn CheckpointStore, file: &str) -> Result<Self, StateError> {
        Self::decode(&store.get(file)?).map_err(|reason| StateError::Corrupt { file: store.locate(file), reason })
    }

    /// What is in a file: a manifest, or the claim of a start, which has the one that it goes on from.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if let Some(claimed) = take_over::claimed(bytes) {
            return claimed;
        }
        let value: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|e| format!("it is not the JSON that was written ({} bytes: {e})", bytes.len()))?;
        let version = value.get("format_version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(Self::FORMAT_VERSION)) {
            let found = version.map_or("none".to_owned(), |v| v.to_string());
            return Err(format!("its format version is {found}, this build reads {}", Self::FORMAT_VERSION));
        }
        serde_json::from_value(value).map_err(|e| format!("it is not a manifest: {e}"))
    }

    /// As what was read from its file says.
    pub(crate) fn read(store: &dyn CheckpointStore, number: u64, bytes: &[u8]) -> Result<Self, StateError> {
        let file = || store.locate(&Self::file(number));
        Self::decode(bytes).map_err(|reason| StateError::Corrupt { file: file(), reason })
    }

    /// Every file it names, with its length.
    fn files(&self) -> impl Iterator<Item = (String, u64)> {
        self.workers.iter().flat_map(|worker| {
            let deltas = worker.deltas.iter().map(|delta| (delta.file.clone(), delta.len));
            let bases = worker
                .base
                .iter()
                .flat_map(|base| base.files.iter().map(move |file| (format!("{}/{}", base.dir, file.name), file.len)));
            deltas.chain(bases)
        })
    }
}

/// What to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreFrom {
    /// The newest checkpoint, or nothing where there is none.
    Auto,
    /// Nothing: only in a checkpoint directory that holds none.
    None,
    /// The checkpoint of this epoch.
    Epoch(u64),
    /// The checkpoint whose manifest is this file of the checkpoint directory.
    Path(PathBuf),
}

impl FromStr for RestoreFrom {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "none" => Self::None,
            other => other.parse().map_or_else(|_| Self::Path(PathBuf::from(other)), Self::Epoch),
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
        }
    }
}

/// What a start does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestorePlan {
    /// There is nothing to restore.
    StartEmpty,
    /// Restore this checkpoint.
    From(Box<Manifest>),
}

/// What a start does, given what the store holds. Reads only.
///
/// # Errors
/// When the checkpoint asked for is not there, not whole, damaged, or of another job. It is never
/// replaced by an older one on its own: the user decides.
pub fn plan_restore(
    store: &dyn CheckpointStore,
    from: &RestoreFrom,
    job: &str,
    key_groups: u16,
) -> Result<RestorePlan, StateError> {
    let epochs = take_over::checkpoints(store)?;
    let newest = epochs.last().copied();
    let epoch = match (from, newest) {
        (RestoreFrom::Auto | RestoreFrom::None, None) => return Ok(RestorePlan::StartEmpty),
        (RestoreFrom::None, Some(newest)) => {
            return Err(StateError::Invalid(format!(
                "--restore none: \"{}\" holds checkpoints (the newest is epoch {newest}), and starting over would overwrite them; use --restore auto to go on, or an empty --checkpoint-dir",
                store.locate("manifests")
            )));
        }
        (RestoreFrom::Auto, Some(newest)) => take_over::newest_state(store, &epochs)?.unwrap_or(newest),
        (RestoreFrom::Epoch(epoch), _) => *epoch,
        (RestoreFrom::Path(path), _) => epoch_of(path).filter(|epoch| epochs.contains(epoch)).ok_or_else(|| {
            StateError::Invalid(format!(
                "--restore {}: that is no manifest of \"{}\"; it holds epochs {epochs:?}",
                path.display(),
                store.locate("manifests")
            ))
        })?,
    };
    if !epochs.contains(&epoch) {
        return Err(StateError::Invalid(format!(
            "--restore {epoch}: there is no such checkpoint in \"{}\"; it holds epochs {epochs:?}",
            store.locate("manifests")
        )));
    }
    let manifest = Manifest::load(store, &Manifest::file(epoch))?;
    check_fits(&manifest, job, key_groups, &store.locate(&Manifest::file(epoch)))?;
    check_whole(store, &manifest, &epochs)?;
    Ok(RestorePlan::From(Box::new(manifest)))
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

fn check_fits(manifest: &Manifest, job: &str, key_groups: u16, file: &str) -> Result<(), StateError> {
    if manifest.job != job {
        return Err(StateError::Invalid(format!(
            "checkpoint \"{file}\" is of job \"{}\", this is \"{job}\": use that program, or another --checkpoint-dir",
            manifest.job
        )));
    }
    if manifest.key_groups != key_groups {
        return Err(StateError::Invalid(format!(
            "checkpoint \"{file}\" has {} key groups, --key-groups says {key_groups}: they are fixed for the life of a job's checkpoints",
            manifest.key_groups
        )));
    }
    Ok(())
}

fn check_whole(store: &dyn CheckpointStore, manifest: &Manifest, epochs: &[u64]) -> Result<(), StateError> {
    let mut missing = Vec::new();
    for (file, len) in manifest.files() {
        match store.len(&file)? {
            Some(found) if found == len => {}
            Some(found) => missing.push(format!("\"{}\" has {found} bytes instead of {len}", store.locate(&file))),
            None => missing.push(format!("\"{}\" is not there", store.locate(&file))),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let others = epochs.iter().copied().filter(|other| *other != manifest.epoch).collect();
    Err(StateError::Incomplete { epoch: manifest.epoch, missing, others })
}

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
        let numbers = list_epochs(store)?;
        if numbers.len() <= self.keep {
            return Ok(());
        }
        let (mut claims, epochs) = take_over::part_claims(store, numbers, |_| false)?;
        let Some(newest) = epochs.last().copied() else { return Ok(()) };
        // Another start's, that this run has not noticed yet; it may be withdrawn, and then this one goes on.
        let later = claims.split_off(claims.partition_point(|claim| *claim < newest));
        let (old, kept) = epochs.split_at(epochs.len().saturating_sub(self.keep));
        let mut named = BTreeSet::new();
        for epoch in kept.iter().chain(&later) {
            let file = Manifest::file(*epoch);
            let manifest = match Manifest::load(store, &file) {
                // Withdrawn, or taken back by a run that was fenced, since it was listed.
                Err(_) if store.len(&file)?.is_none() => continue,
                loaded => loaded?,
            };
            for worker in manifest.workers {
                named.extend(worker.deltas.into_iter().map(|delta| delta.file));
                named.extend(worker.base.map(|base| base.dir));
            }
        }
        for epoch in claims.iter().chain(old) {
            store.delete(&Manifest::file(*epoch))?;
        }
        if old.is_empty() {
            return Ok(());
        }
        for folder in ["deltas", "bases"] {
            for name in store.list(folder)? {
                let path = format!("{folder}/{name}");
                // Files of later epochs are being written, and no manifest names them yet.
                let epoch = name.split('-').next().and_then(|epoch| epoch.parse::<u64>().ok());
                if epoch.is_some_and(|epoch| epoch <= newest) && !named.contains(&path) {
                    store.delete(&path)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::Delta;
    use crate::store::LocalStore;

    fn manifest_of(store: &dyn CheckpointStore, epoch: u64) -> Manifest {
        let delta = Delta::new(epoch, 0).store(store, 9).unwrap();
        Manifest {
            format_version: Manifest::FORMAT_VERSION,
            job: "job".to_owned(),
            epoch,
            incarnation: 9,
            created_ms: 0,
            key_groups: 128,
            states: Vec::new(),
            workers: vec![WorkerEntry { base: None, deltas: vec![delta] }],
            finished: false,
        }
    }

    fn manifest(store: &dyn CheckpointStore, epoch: u64) -> Manifest {
        let manifest = manifest_of(store, epoch);
        manifest.commit(store).unwrap();
        manifest
    }

    fn plan(store: &LocalStore, from: &str) -> Result<RestorePlan, StateError> {
        plan_restore(store, &from.parse().unwrap(), "job", 128)
    }

    #[test]
    fn auto_takes_the_newest_and_an_epoch_is_taken_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        assert_eq!(plan(&store, "auto").unwrap(), RestorePlan::StartEmpty);
        let first = manifest(&store, 1);
        let second = manifest(&store, 2);
        assert_eq!(plan(&store, "auto").unwrap(), RestorePlan::From(Box::new(second.clone())));
        assert_eq!(plan(&store, "1").unwrap(), RestorePlan::From(Box::new(first.clone())));
        assert_eq!(plan(&store, "2").unwrap(), RestorePlan::From(Box::new(second.clone())), "plans only read");
        assert!(plan(&store, "none").unwrap_err().to_string().contains("--restore auto"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let good = manifest(&store, 1);
        assert!(plan_restore(&store, &RestoreFrom::Auto, "other", 128).unwrap_err().to_string().contains("\"job\""));
        assert!(
            plan_restore(&store, &RestoreFrom::Auto, "job", 64).unwrap_err().to_string().contains("128 key groups")
        );
        let delta = &good.workers[0].deltas[0].file;
        std::fs::remove_file(dir.path().join(delta)).unwrap();
        assert!(plan(&store, "auto").unwrap_err().to_string().contains(delta));
    }

    #[test]
    fn a_truncated_manifest_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        manifest(&store, 1);
        let file = dir.path().join(Manifest::file(1));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let error = plan(&store, "auto").unwrap_err();
        assert!(
            matches!(&error, StateError::Corrupt { file, .. } if file.ends_with("00000000000000000001.json")),
            "{error}"
        );
        assert_eq!(std::fs::read(&file).unwrap().len(), bytes.len() / 2, "nothing is overwritten");
    }

    #[test]
    fn pruning_keeps_what_kept_manifests_name_and_what_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        (1..=5).for_each(|epoch| drop(manifest(&store, epoch)));
        Delta::new(6, 0).store(&store, 9).unwrap();
        Retention { keep: 2 }.prune(&store).unwrap();
        assert_eq!(list_epochs(&store).unwrap(), [4, 5]);
        assert_eq!(store.list("deltas").unwrap().len(), 3);
        assert!(plan(&store, "4").is_ok());
    }

    #[test]
    fn a_zombie_is_fenced_also_where_its_epoch_was_pruned() {
        let scratch = tempfile::tempdir().unwrap();
        let store = LocalStore::open(scratch.path()).unwrap();
        let late = manifest_of(&store, 1);
        for epoch in 1..=6 {
            manifest(&store, epoch);
        }
        Retention { keep: 2 }.prune(&store).unwrap();
        assert!(matches!(late.commit(&store), Err(StateError::Fenced { .. })));
        assert_eq!(list_epochs(&store).unwrap(), [5, 6]);
    }
}
