//! The answer of `/metrics`: what the process as a whole knows, and the operators.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use tidemill_state::StateName;

use super::execution::Run;
use super::phase::Phase;
use crate::locks::lock;
use crate::metrics::{Format, Samples, list as families};

/// Returns the content type and the content of `/metrics` for a request with this `Accept` header.
pub(super) fn metrics(run: &Run, accept: Option<&str>) -> (&'static str, Vec<u8>) {
    let format = Format::accepted(accept);
    let mut samples = Samples::new(format.has_native());
    job(run, &mut samples);
    checkpoints(run, &mut samples);
    rows(run, &mut samples);
    #[cfg(target_os = "linux")]
    super::operating_system::expose(&mut samples);
    run.process.metrics.expose(&mut samples);
    (format.content_type(), format.write(&samples))
}

fn job(run: &Run, samples: &mut Samples) {
    let Run { name, settings, process, .. } = run;
    let progress = &process.progress;
    let processes = settings.processes().to_string();
    let info = [
        ("job_name", name.as_str()),
        ("version", env!("CARGO_PKG_VERSION")),
        ("workers", &settings.all_workers().to_string()),
        ("process", &settings.process.to_string()),
        ("processes", &processes),
    ];
    samples.add(&families::JOB_INFO, &info, 1.0);
    let phase = Phase::of(run);
    for each in Phase::ALL {
        samples.add(&families::JOB_STATE, &[("state", each.as_str())], f64::from(u8::from(each == phase)));
    }
    samples.add(&families::IN_FLIGHT, &[], process.budget.in_flight() as f64);
    samples.add(&families::IN_FLIGHT_LIMIT, &[], settings.max_in_flight as f64);
    samples.add(&families::PENDING, &[], process.pending.load(Ordering::Relaxed) as f64);
    let first = settings.first_worker();
    for (at, state) in progress.state.iter().enumerate() {
        let worker = (first + at).to_string();
        for (StateName { operator, state }, bytes) in lock(&state.by_state).iter() {
            let labels = [("operator", operator.as_str()), ("state", state), ("worker", &worker)];
            samples.add(&families::STATE_BYTES, &labels, *bytes as f64);
        }
    }
    if let Some(limit) = settings.state_memory {
        samples.add(&families::STATE_LIMIT, &[], limit as f64);
    }
    if let Some(counts) = run.tracer.as_ref().map(|tracer| tracer.counts()) {
        for (result, count) in
            [("exported", &counts.exported), ("dropped", &counts.dropped), ("failed", &counts.failed)]
        {
            samples.add(&families::SPANS, &[("result", result)], count.load(Ordering::Relaxed) as f64);
        }
    }
    for (reason, count) in run.refusals.counts() {
        samples.add(&families::MESH_REFUSED, &[("reason", &reason)], count as f64);
    }
}

/// Adds what RocksDB says of itself.
fn rows(run: &Run, samples: &mut Samples) {
    let first = run.settings.first_worker();
    for (at, state) in run.process.progress.state.iter().enumerate() {
        let rows = state.rows.get().and_then(Weak::upgrade);
        let Some(figures) = rows.and_then(|rows| rows.figures()) else { continue };
        for (family, value) in [
            (&families::ROCKSDB_ROWS, figures.rows),
            (&families::ROCKSDB_LIVE, figures.live_bytes),
            (&families::ROCKSDB_FILES, figures.files_bytes),
            (&families::ROCKSDB_MEMTABLES, figures.memtables_bytes),
            (&families::ROCKSDB_TABLE_READERS, figures.table_readers_bytes),
            (&families::ROCKSDB_BLOCK_CACHE, figures.block_cache_bytes),
            (&families::ROCKSDB_PENDING_COMPACTION, figures.pending_compaction_bytes),
            (&families::ROCKSDB_COMPACTIONS, figures.running_compactions),
            (&families::ROCKSDB_FLUSHES, figures.running_flushes),
            (&families::ROCKSDB_ERRORS, figures.background_errors),
            (&families::ROCKSDB_STOPPED, u64::from(figures.writes_stopped)),
        ] {
            samples.add(family, &[("worker", &(first + at).to_string())], value as f64);
        }
    }
}

fn checkpoints(run: &Run, samples: &mut Samples) {
    let progress = &run.process.progress;
    let [epoch, committed, restored] = [&progress.running_epoch, &progress.committed_epoch, &progress.restored_epoch]
        .map(|of| of.load(Ordering::Relaxed));
    // Epochs are counted from 1: 0 says that there is none.
    for (family, epoch) in
        [(&families::EPOCH, epoch), (&families::COMMITTED_EPOCH, committed), (&families::RESTORED_EPOCH, restored)]
    {
        if epoch > 0 {
            samples.add(family, &[], epoch as f64);
        }
    }
    let counts = &progress.checkpoints;
    for (result, count) in [("committed", &counts.committed), ("failed", &counts.failed), ("fenced", &counts.fenced)] {
        samples.add(&families::CHECKPOINTS, &[("result", result)], count.load(Ordering::Relaxed) as f64);
    }
    samples.add(&families::CHECKPOINT_INTERVAL, &[], run.settings.checkpoint_interval.as_secs_f64());
    samples.add(&families::CHECKPOINTS_OPEN, &[], epoch.saturating_sub(committed) as f64);
    if let Some((_, committed)) = progress.written.history.last_committed() {
        samples.add(&families::CHECKPOINT_COMMITTED, &[], committed.0 as f64 / 1e3);
    }
    if run.settings.process == 0 {
        progress.checkpoint_time.expose(samples, &families::CHECKPOINT_DURATION, &[]);
    }
    samples.add(&families::DELTA_BYTES, &[], progress.written.delta_bytes.load(Ordering::Relaxed) as f64);
    if let Some(free) = progress.written.free_bytes.get() {
        samples.add(&families::FREE_BYTES, &[], free.load(Ordering::Relaxed) as f64);
    }
    samples.add(&families::LOST_FILES, &[], progress.written.lost_files.load(Ordering::Relaxed) as f64);
}
