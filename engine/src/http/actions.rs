//! What a request can have the job do. Each is asked for, not awaited: the answer says what to look at.

use std::path::Path;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::problem::Problem;
use super::shown::Shown;
use crate::control::request::Request;

/// How the job is to stop.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stop {
    drain: bool,
}

/// Asks the job to stop: it finishes the epoch and leaves a checkpoint.
pub(super) fn stop(shown: &Shown, body: &[u8]) -> Result<Value, Problem> {
    let Stop { drain } = self::body(body)?;
    if drain {
        let detail = "a job cannot be drained from outside: its windows stay open and are in the checkpoint";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    tracing::info!("the job was asked to stop over HTTP");
    shown.watched.process.stop.store(true, Ordering::Relaxed);
    Ok(json!({ "state": "stopping" }))
}

/// Asks for a checkpoint now. Whatever was read before is in it: it is made once `committed_epoch` of the job is at
/// least the epoch of the answer.
pub(super) fn checkpoint(shown: &Shown) -> Result<Value, Problem> {
    checkpoint_dir(shown)?;
    if shown.watched.process.progress.began.get().is_none() {
        return Err(Problem::new(StatusCode::CONFLICT, "the job has not begun yet: nothing was read"));
    }
    Ok(json!({ "epoch": want_checkpoint(shown) }))
}

/// A change of an operator that is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// Without one it gets one. Who repeats a request gives it the same.
    pub(super) id: Option<String>,
    pub(super) operator: String,
    pub(super) change: Value,
    pub(super) by: Option<String>,
    #[serde(default)]
    pub(super) reason: String,
}

impl Change {
    /// Asks the leader for it, and returns its id.
    pub(super) fn ask(self, shown: &Shown) -> String {
        let Self { id, operator, change, by, reason } = self;
        let process = &shown.watched.process;
        let new_id = || process.control.next_id(shown.watched.started_ms, shown.watched.index);
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(new_id);
        let (by, asked_ms) = (by.unwrap_or_else(|| "HTTP".to_owned()), process.clock.processing_time().0);
        process.control.ask(Request { id: id.clone(), operator, change: change.to_string(), by, reason, asked_ms });
        id
    }
}

/// Asks for a change of an operator. What became of it is under `/api/v1/changes`.
pub(super) fn change(shown: &Shown, body: &[u8]) -> Result<Value, Problem> {
    let wrong = |e| Problem::new(StatusCode::BAD_REQUEST, format!("the body: {e}"));
    let change: Change = serde_json::from_slice(body).map_err(wrong)?;
    let checked = shown.watched.process.control.check(&change.operator);
    checked.map_err(|fault| Problem::new(StatusCode::NOT_FOUND, fault))?;
    let (state, _) = shown.state();
    if state != "running" {
        let detail = format!("the job is {state}: only one that runs can be changed");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(json!({ "id": change.ask(shown) }))
}

/// Returns where the job has its checkpoints.
pub(super) fn checkpoint_dir(shown: &Shown) -> Result<&Path, Problem> {
    let dir = shown.watched.checkpoint_dir.as_deref();
    dir.ok_or_else(|| Problem::new(StatusCode::CONFLICT, "the job has no checkpoints: set checkpoint_dir"))
}

/// Has a checkpoint made, and returns its epoch at least.
pub(super) fn want_checkpoint(shown: &Shown) -> u64 {
    let process = &shown.watched.process;
    // Read first: the tick may come before the answer.
    let epoch = process.progress.running_epoch.load(Ordering::Relaxed);
    process.checkpoint_wanted.store(true, Ordering::Relaxed);
    epoch
}

/// Returns what the body of a request says; without a body, the defaults.
pub(super) fn body<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body: {e}")))
}
