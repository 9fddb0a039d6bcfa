//! What a request can have the job do. Each is asked for, not awaited: the answer says what to look at.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::shown::Shown;

/// How the job is to stop.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stop {
    drain: bool,
}

/// Asks the job to stop: it finishes the epoch and leaves a checkpoint.
pub(super) fn stop(shown: &Shown, body: &[u8]) -> Result<Value, Problem> {
    let stop: Stop = if body.is_empty() {
        Stop::default()
    } else {
        serde_json::from_slice(body).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body: {e}")))?
    };
    if stop.drain {
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
    let process = &shown.watched.process;
    if !shown.watched.has_checkpoints {
        return Err(Problem::new(StatusCode::CONFLICT, "the job has no checkpoints: set checkpoint_dir"));
    }
    if process.progress.began.get().is_none() {
        return Err(Problem::new(StatusCode::CONFLICT, "the job has not begun yet: nothing was read"));
    }
    // Read first: the tick may come before the answer.
    let epoch = process.progress.running_epoch.load(Ordering::Relaxed);
    process.checkpoint_wanted.store(true, Ordering::Relaxed);
    Ok(json!({ "epoch": epoch }))
}
