//! `/api/v1/checkpoints`: the last checkpoints, the newest first, with the parts of the workers of this process.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::add_each;
use crate::checkpoint::history::{Attempt, Part};
use crate::http::shown::Shown;

#[derive(Serialize, Deserialize)]
pub(in crate::http) struct Checkpoints {
    checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::http) struct Checkpoint {
    epoch: u64,
    started_ms: i64,
    committed_ms: Option<i64>,
    result: Outcome,
    delta_bytes: u64,
    phases: Vec<Phases>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Open,
    Committed,
}

/// How long the parts of one worker took; absent when there was none, or it is not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Checkpoints {
    /// Adds what other processes have seen. The newest come first.
    pub(in crate::http) fn add_all(&mut self, others: impl Iterator<Item = Self>) {
        let others = others.flat_map(|other| other.checkpoints);
        add_each(&mut self.checkpoints, others, |a, b| a.epoch == b.epoch, Checkpoint::add);
        self.checkpoints.sort_by_key(|one| Reverse(one.epoch));
    }
}

impl Outcome {
    fn of<T>(committed: Option<T>) -> Self {
        if committed.is_some() { Self::Committed } else { Self::Open }
    }
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
            result: Outcome::of(attempt.committed),
            delta_bytes: attempt.parts.values().map(|part| part.delta_bytes).sum(),
            phases: attempt.parts.iter().map(phases).collect(),
        }
    }
    /// Adds what another process has seen of the same checkpoint. It began when the first of them saw its epoch end, and
    /// is committed when one of them knows it.
    fn add(&mut self, other: Self) {
        self.started_ms = self.started_ms.min(other.started_ms);
        self.committed_ms = self.committed_ms.into_iter().chain(other.committed_ms).reduce(i64::min);
        self.result = Outcome::of(self.committed_ms);
        self.delta_bytes += other.delta_bytes;
        self.phases.extend(other.phases);
        self.phases.sort_by_key(|phases| phases.worker);
    }
}
