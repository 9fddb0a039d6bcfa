//! What a start takes out of the checkpoint store, before the workers run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tidemill_state::{Changes, CheckpointStore, Found, Manifest, RestoreFrom, Retention, Starter, Taken, blobs_of};

use super::coordinator::PUBLISHED_BLOB;
use super::target::Target;
use crate::error::{JobError, with_causes};
use crate::time::Epoch;

/// Blobs by name, one per old worker that wrote it.
pub(crate) type Blobs = BTreeMap<String, Vec<Vec<u8>>>;

/// Where the job starts.
pub(crate) struct Start {
    pub(crate) target: Option<Target>,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) blobs: Arc<Blobs>,
    /// The first epoch of this incarnation.
    pub(crate) first_epoch: Epoch,
    /// What this process has claimed, if it is the one that decides.
    taken: Option<Taken>,
    /// Whether sinks have begun to clear away what the last run left.
    pub(crate) recovering: AtomicBool,
    /// Whether nothing is left that may stop the start.
    pub(crate) begun: AtomicBool,
}

/// What all processes start from, as process 0 has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    /// The start of process 0 that decided.
    pub(crate) run: u64,
    /// The first epoch that is committed.
    pub(crate) first_epoch: u64,
    /// The file in the checkpoint directory that says what is restored; none without a checkpoint directory.
    pub(crate) found: Option<Found>,
}

/// What a start is told of the job.
pub(crate) struct Starting<'a> {
    pub(crate) job: &'a str,
    pub(crate) restore: &'a RestoreFrom,
    pub(crate) key_groups: u16,
    pub(crate) changes: Changes,
    /// How many checkpoints are kept.
    pub(crate) keep: usize,
    pub(crate) incarnation: u64,
    pub(crate) now_ms: i64,
    pub(crate) store: Option<Arc<dyn CheckpointStore>>,
}

impl Start {
    /// The epoch whose state is restored; 0 on a fresh start.
    pub(crate) fn restored_epoch(&self) -> Epoch {
        Epoch(self.manifest.as_ref().map_or(0, |manifest| manifest.epoch))
    }

    /// What the other processes have to start from, too.
    pub(crate) fn agreement(&self, run: u64) -> Agreement {
        let found = self.taken.as_ref().map(|taken| taken.found.clone());
        Agreement { run, first_epoch: self.first_epoch.0, found }
    }

    /// Nothing is left that may stop the start: later epochs are given up.
    pub(crate) fn begin(&self) -> Result<(), JobError> {
        if let (Some(taken), Some(target)) = (&self.taken, &self.target) {
            taken.give_up_later(target.store.as_ref())?;
        }
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The start was refused: whoever ran before may go on, unless what it has not committed may be gone.
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
            tracing::warn!(error = with_causes(&error), "the claim of a start that was refused stays");
        }
    }
}

/// Decides what to start from, and takes over from whoever was running. Where it is refused it has changed nothing.
pub(crate) fn lead(starting: &Starting<'_>) -> Result<Start, JobError> {
    let Starting { job, restore, key_groups, incarnation, now_ms, store, .. } = starting;
    let Some(store) = store else {
        if !matches!(restore, RestoreFrom::Auto | RestoreFrom::None) {
            return Err(JobError::Invalid(
                "--restore names a checkpoint, but there is no --checkpoint-dir to restore from and go on in"
                    .to_owned(),
            ));
        }
        return starting.from(None, Epoch(1), None);
    };
    let (key_groups, incarnation, now_ms) = (*key_groups, *incarnation, *now_ms);
    let starter = Starter { job, key_groups, incarnation, now_ms };
    let taken = tidemill_state::take_over(store.as_ref(), restore, &starter)?;
    let (manifest, first_epoch) = (taken.manifest.clone(), Epoch(taken.first_epoch));
    starting.from(manifest, first_epoch, Some(taken.clone())).inspect_err(|_| drop(taken.withdraw(store.as_ref())))
}

/// Starts from what the leader has decided.
pub(crate) fn follow(starting: &Starting<'_>, agreement: &Agreement) -> Result<Start, JobError> {
    let manifest = match (&starting.store, &agreement.found) {
        (Some(store), Some(found)) => tidemill_state::follow(store.as_ref(), found)?,
        (None, None) => None,
        _ => return Err(JobError::Invalid("--checkpoint-dir must be given to all processes or to none".to_owned())),
    };
    starting.from(manifest, Epoch(agreement.first_epoch), None)
}

impl Starting<'_> {
    fn from(&self, manifest: Option<Manifest>, first_epoch: Epoch, taken: Option<Taken>) -> Result<Start, JobError> {
        let Self { changes, keep, incarnation, store, .. } = self;
        let blobs = match (&manifest, store) {
            (Some(manifest), Some(store)) => renamed(changes, manifest, read_blobs(store.as_ref(), manifest)?)?,
            _ => {
                changes.check(&BTreeSet::new(), &BTreeSet::new())?;
                Blobs::new()
            }
        };
        let retention = Retention { keep: *keep };
        let target = store.clone().map(|store| Target { store, retention, incarnation: *incarnation });
        Ok(Start {
            target,
            manifest: manifest.map(Arc::new),
            blobs: Arc::new(blobs),
            first_epoch,
            taken,
            recovering: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        })
    }
}

/// The blobs of the restored epoch, and the staged output of older ones that may be unpublished.
fn read_blobs(store: &dyn CheckpointStore, manifest: &Manifest) -> Result<Blobs, JobError> {
    let mut blobs = Blobs::new();
    for worker in &manifest.workers {
        let published = worker
            .deltas
            .iter()
            .find(|delta| delta.epoch == manifest.epoch)
            .map(|delta| blobs_of(store, delta))
            .transpose()?
            .and_then(|own| own.into_iter().find(|(name, _)| name == PUBLISHED_BLOB))
            .and_then(|(_, value)| value.as_slice().try_into().ok().map(u64::from_le_bytes))
            .unwrap_or(0);
        for delta in worker.deltas.iter().filter(|d| d.epoch > published || d.epoch == manifest.epoch) {
            let newest = delta.epoch == manifest.epoch;
            for (name, value) in blobs_of(store, delta)? {
                if newest || is_staged_output(&name) {
                    blobs.entry(name).or_default().push(value);
                }
            }
        }
    }
    Ok(blobs)
}

/// Checks what is said of names against a checkpoint, and gives its blobs the names of now. Says what is dropped.
fn renamed(changes: &Changes, manifest: &Manifest, blobs: Blobs) -> Result<Blobs, JobError> {
    let states: BTreeSet<String> = manifest.states.iter().map(|state| state.name.clone()).collect();
    let in_states = states.iter().filter_map(|state| state.split('/').next());
    let in_blobs = blobs.keys().filter_map(|blob| BlobName::of(blob)).map(|blob| blob.operator);
    let operators = in_states.chain(in_blobs).map(str::to_owned).collect();
    changes.check(&states, &operators)?;
    for state in states.iter().filter(|state| changes.state(state).is_none()) {
        tracing::warn!(state, "the state is dropped, as --drop-state says");
    }
    let mut renamed = Blobs::new();
    for (blob, values) in blobs {
        let Some(BlobName { kind, operator, rest }) = BlobName::of(&blob) else {
            renamed.insert(blob, values);
            continue;
        };
        match changes.operator(operator) {
            Some(new) => drop(renamed.insert(format!("{kind}/{new}/{rest}"), values)),
            None => tracing::warn!(what = BlobName::describe(&blob), "it is dropped, as --drop-state says"),
        }
    }
    Ok(renamed)
}

/// The name of a blob that belongs to an operator, a source or a sink.
pub(crate) struct BlobName<'a> {
    pub(crate) kind: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) rest: &'a str,
}

impl<'a> BlobName<'a> {
    pub(crate) fn of(blob: &'a str) -> Option<Self> {
        let (kind, name) = blob.split_once('/').filter(|(kind, _)| ["operator", "source", "sink"].contains(kind))?;
        let (operator, rest) = name.split_once('/')?;
        Some(Self { kind, operator, rest })
    }

    /// What a blob is to its user.
    pub(crate) fn describe(blob: &'a str) -> String {
        match Self::of(blob) {
            Some(Self { kind: "sink", operator, rest }) => {
                let epoch = rest.rsplit('/').next().unwrap_or(rest);
                format!("output of sink \"{operator}\" of epoch {epoch}, which may not have been published")
            }
            Some(Self { kind, operator, rest }) => format!("the {rest} of {kind} \"{operator}\""),
            None => format!("\"{blob}\""),
        }
    }
}

fn is_staged_output(name: &str) -> bool {
    name.starts_with("sink/")
}
