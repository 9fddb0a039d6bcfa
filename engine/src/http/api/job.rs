//! `/api/v1/job`: the job in a few numbers.

use serde::Serialize;
use serde_json::Value;

use crate::http::cause::Cause;
use crate::http::shown::Shown;
use crate::locks::lock;
use crate::metrics::{Percentiles, Snapshot};

#[derive(Serialize)]
pub(in crate::http) struct Job {
    job: String,
    version: &'static str,
    state: &'static str,
    failure: Option<String>,
    started_ms: i64,
    now_ms: i64,
    uptime_seconds: f64,
    workers: usize,
    processes: usize,
    process: usize,
    restored_epoch: Option<u64>,
    epoch: u64,
    committed_epoch: Option<u64>,
    last_commit_ms: Option<i64>,
    epochs_open: u64,
    checkpoint_interval_seconds: f64,
    /// Absent where it is not measured: only the process that leads does.
    checkpoint_seconds: Option<Seconds>,
    in_flight: i64,
    pending: i64,
    records_per_second: f64,
    dead_letters: u64,
    late: u64,
    state_bytes: u64,
    state_limit_bytes: Option<u64>,
    delta_bytes: u64,
    checkpoint_files_lost: u64,
    cause: Option<Cause>,
    settings: Value,
}

/// Percentiles of a time.
#[derive(Serialize)]
struct Seconds {
    p50: f64,
    p99: f64,
}

impl Seconds {
    fn of(micros: Percentiles) -> Option<Self> {
        let seconds = |micros: u64| micros as f64 / 1e6;
        (micros.count > 0).then(|| Self { p50: seconds(micros.p50), p99: seconds(micros.p99) })
    }
}

pub(in crate::http) fn job(shown: &Shown, snapshot: &Snapshot) -> Job {
    let watched = &shown.watched;
    let (state, failure) = shown.state();
    let sum = |name: &str| snapshot.operators.iter().map(|operator| operator.counter(name)).sum();
    let records_per_second = lock(&shown.sampler).records_per_second;
    Job {
        job: watched.job.clone(),
        version: env!("CARGO_PKG_VERSION"),
        state,
        failure,
        started_ms: watched.started_ms,
        now_ms: snapshot.now_ms,
        uptime_seconds: snapshot.now_ms.saturating_sub(watched.started_ms) as f64 / 1000.0,
        workers: watched.workers,
        processes: watched.processes,
        process: watched.index,
        restored_epoch: snapshot.restored_epoch,
        epoch: snapshot.epoch,
        committed_epoch: snapshot.committed_epoch,
        last_commit_ms: watched.process.progress.written.history.last_committed().map(|(_, time)| time.0),
        // The epoch that runs is one of them.
        epochs_open: snapshot.epoch.saturating_sub(snapshot.committed_epoch.unwrap_or(0)),
        checkpoint_interval_seconds: watched.checkpoint_seconds,
        checkpoint_seconds: Seconds::of(snapshot.checkpoint_us),
        in_flight: snapshot.in_flight,
        pending: snapshot.pending,
        records_per_second,
        dead_letters: sum("dead_letters"),
        late: sum("late"),
        state_bytes: snapshot.state_bytes,
        state_limit_bytes: watched.state_limit_bytes,
        delta_bytes: snapshot.delta_bytes,
        checkpoint_files_lost: snapshot.checkpoint_files_lost,
        cause: shown.cause(),
        settings: watched.settings.clone(),
    }
}
