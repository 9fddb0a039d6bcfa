//! `/api/v1/checkpoints`: the last checkpoints, the newest first, with the parts of the workers of this process.

use std::time::Duration;

use serde::Serialize;

use crate::checkpoint::history::{Attempt, Part};
use crate::http::shown::Shown;

#[derive(Serialize)]
pub(in crate::http) struct Checkpoints {
    checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, PartialEq, Serialize)]
pub(in crate::http) struct Checkpoint {
    epoch: u64,
    started_ms: i64,
    committed_ms: Option<i64>,
    result: &'static str,
    delta_bytes: u64,
    phases: Vec<Phases>,
}

/// How long the parts of one worker took; absent when there was none, or it is not done.
#[derive(Clone, PartialEq, Serialize)]
struct Phases {
    worker: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    align_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flush_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_seconds: Option<f64>,
}

pub(in crate::http) fn checkpoints(shown: &Shown) -> Checkpoints {
    let attempts = shown.watched.process.progress.written.history.newest_first();
    Checkpoints { checkpoints: attempts.iter().map(Checkpoint::of).collect() }
}

impl Checkpoint {
    pub(in crate::http) fn of(attempt: &Attempt) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let phases = |(worker, part): (&u32, &Part)| Phases {
            worker: *worker,
            align_seconds: seconds(part.align),
            flush_seconds: seconds(part.flush),
            write_seconds: seconds(part.write),
            base_seconds: seconds(part.base),
            manifest_seconds: seconds(part.manifest),
            publish_seconds: seconds(part.publish),
        };
        Self {
            epoch: attempt.epoch.0,
            started_ms: attempt.began.0,
            committed_ms: attempt.committed.map(|time| time.0),
            result: if attempt.committed.is_some() { "committed" } else { "open" },
            delta_bytes: attempt.parts.values().map(|part| part.delta_bytes).sum(),
            phases: attempt.parts.iter().map(phases).collect(),
        }
    }
}
