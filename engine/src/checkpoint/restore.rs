//! What a start takes out of the checkpoint store, before the workers run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tidemill_state::{Changes, CheckpointStore, Manifest, RestoreFrom, RestorePlan, Retention, blobs_of};

use super::coordinator::PUBLISHED_BLOB;
use super::thread::Target;
use crate::error::JobError;
use crate::settings::JobArgs;
use crate::time::Epoch;

/// Blobs by name, one per old worker that wrote it.
pub(crate) type Blobs = BTreeMap<String, Vec<Vec<u8>>>;

/// Where the job starts.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) target: Option<Target>,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) blobs: Arc<Blobs>,
}

impl Start {
    /// The first epoch of this incarnation.
    pub(crate) fn first_epoch(&self) -> Epoch {
        self.manifest.as_ref().map_or(Epoch(1), |manifest| Epoch(manifest.epoch + 1))
    }
}

/// Decides what to start from. Reads only.
pub(crate) fn prepare(
    job: &str,
    args: &JobArgs,
    incarnation: u64,
    store: Option<Arc<dyn CheckpointStore>>,
) -> Result<Start, JobError> {
    let Some(store) = store else {
        if !matches!(args.restore, RestoreFrom::Auto | RestoreFrom::None) {
            return Err(JobError::Invalid(
                "--restore names a checkpoint, but there is no --checkpoint-dir to restore from and go on in"
                    .to_owned(),
            ));
        }
        args.changes().check(&BTreeSet::new(), &BTreeSet::new())?;
        return Ok(Start { target: None, manifest: None, blobs: Arc::default() });
    };
    let manifest = match tidemill_state::plan_restore(store.as_ref(), &args.restore, job, args.key_groups)? {
        RestorePlan::StartEmpty => None,
        RestorePlan::From(manifest) => Some(Arc::new(*manifest)),
    };
    let blobs = match &manifest {
        Some(manifest) => renamed(&args.changes(), manifest, read_blobs(store.as_ref(), manifest)?)?,
        None => {
            args.changes().check(&BTreeSet::new(), &BTreeSet::new())?;
            Blobs::new()
        }
    };
    let retention = Retention { keep: args.retain_checkpoints };
    let target = Target { store, retention, incarnation };
    Ok(Start { target: Some(target), manifest, blobs: Arc::new(blobs) })
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

/// Where the workers' RocksDBs work.
pub(crate) fn working_root(args: &JobArgs) -> PathBuf {
    match (&args.checkpoint_dir, &args.state_dir) {
        (Some(dir), _) => dir.join("local"),
        (None, Some(dir)) => dir.clone(),
        (None, None) => std::env::temp_dir().join("tidemill"),
    }
}
