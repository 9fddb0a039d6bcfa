//! Takes a savepoint of the running job: asks for a checkpoint, waits until it is committed, and copies it on a thread of
//! its own. Neither the job nor other clients wait for that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_state::{
    Catalogued, LocalStore, SavepointName, Sharing, StateError, catalogue, savepoint_place,
    take_savepoint_unless_removed,
};
use tokio::sync::oneshot;

use super::actions;
use super::problem::Problem;
use super::savepoints::Taken;
use super::shown::Shown;
use crate::error::JobError;
use crate::threads;

/// Time between two looks whether the checkpoint is there.
const LOOK: Duration = Duration::from_millis(20);
/// Number of times that another checkpoint is taken because the job has removed the one before.
const TRIES: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    /// Without one, or with an empty one, the name has the epoch.
    name: Option<String>,
}

/// Begins to take a savepoint.
pub(super) fn savepoint(shown: &Arc<Shown>, body: &[u8]) -> Result<Value, Problem> {
    let refused = |status: StatusCode, detail: String| Err(Problem::new(status, detail));
    let wanted: Wanted = actions::body(body)?;
    let name = wanted.name.filter(|name| !name.is_empty());
    let name: Option<SavepointName> = name
        .map(|name| name.parse())
        .transpose()
        .map_err(|fault: String| Problem::new(StatusCode::BAD_REQUEST, fault))?;
    let dir = actions::checkpoint_dir(shown)?.to_owned();
    let (state, _) = shown.state();
    if state != "running" {
        let detail =
            format!("the job is {state}: a savepoint is taken of one that runs, or of its checkpoints by the command");
        return refused(StatusCode::CONFLICT, detail);
    }
    if let Some(place) = name.as_ref().and_then(|name| savepoint_place(Some(&dir), name.to_string().as_ref()))
        && place.exists()
    {
        let detail = format!("\"{}\" exists already: give the savepoint another name, or delete it", place.display());
        return refused(StatusCode::CONFLICT, detail);
    }
    let now_ms = shown.watched.process.clock.processing_time().0;
    let Some(id) = shown.savepoints.begin(name.as_ref().map(ToString::to_string), now_ms) else {
        let detail = "another savepoint is being taken: ask again when /api/v1/savepoints says that it is there";
        return refused(StatusCode::CONFLICT, detail.to_owned());
    };
    let epoch = actions::want_checkpoint(shown);
    tracing::info!(id, "a savepoint was asked for over HTTP");
    let of = Arc::clone(shown);
    shown.savepoints.taken_by(tokio::spawn(async move {
        let end = take(&of, id, epoch, &dir, name).await;
        match &end {
            Ok(Taken { name, epoch, bytes }) => tracing::info!(name, epoch, bytes, "a savepoint was taken"),
            Err(error) => tracing::warn!(error, "a savepoint that was asked for could not be taken"),
        }
        of.savepoints.end(id, end);
    }));
    Ok(json!({ "id": id, "epoch": epoch }))
}

async fn take(shown: &Shown, id: u64, epoch: u64, dir: &Path, name: Option<SavepointName>) -> Result<Taken, String> {
    while shown.watched.process.progress.committed_epoch.load(Ordering::Relaxed) < epoch {
        // The last checkpoint of a job that ends would do, too.
        if shown.has_ended() {
            return Err("the job has ended before the checkpoint was made".to_owned());
        }
        tokio::time::sleep(LOOK).await;
    }
    shown.savepoints.copying(id);
    let (done, copied) = oneshot::channel();
    let dir = dir.to_owned();
    // Nobody is left to be told if the server has ended meanwhile.
    let work = move || drop(done.send(copy(&dir, epoch, name.as_ref())));
    threads::spawn("savepoint".to_owned(), work).map_err(|error| format!("no thread can be started: {error}"))?;
    match copied.await {
        Ok(copied) => copied.map_err(|error| JobError::from(error).report()),
        Err(_) => Err("the thread that copied it has panicked".to_owned()),
    }
}

/// Copies the first checkpoint from `least` on that is there. A job goes on meanwhile, and removes old ones.
fn copy(dir: &Path, least: u64, name: Option<&SavepointName>) -> Result<Taken, StateError> {
    let store = LocalStore::look_at(dir)?;
    for _ in 0..TRIES {
        let all = catalogue(&store)?;
        let Some(manifest) = all.iter().filter_map(Catalogued::checkpoint).find(|one| one.epoch >= least) else {
            break;
        };
        let name = SavepointName::or_of_epoch(name, manifest.epoch);
        let Some(to) = savepoint_place(Some(dir), name.as_ref()) else { break };
        if take_savepoint_unless_removed(&store, manifest, &to, Sharing::Links)? {
            return Ok(Taken { name, epoch: manifest.epoch, bytes: manifest.bytes() });
        }
    }
    let reason = "the job removes its checkpoints faster than they are copied: have it keep more (retain_checkpoints)";
    Err(StateError::Invalid(reason.to_owned()))
}
