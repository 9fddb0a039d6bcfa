//! Tests of the parts that exist without any feature: file sources, windows, checkpoints, file sinks.
//!
//! `cargo test --release -p tidemill --no-default-features --test slim` runs it without RocksDB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::job::{JobSetup, JobState};
use tidemill::prelude::*;

const RECORDS: u64 = 100_000;
const KEYS: u64 = 7;
const STEP_MS: u64 = 10;
const WINDOW_MS: i64 = 10_000;
const WINDOW: Duration = Duration::from_millis(WINDOW_MS as u64);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    n: u64,
}

fn settings(scratch: &Path, workers: usize) -> JobSettings {
    let (checkpoint_dir, checkpoint_interval) = (Some(scratch.join("checkpoints")), Duration::from_millis(20));
    JobSettings { workers, checkpoint_dir, checkpoint_interval, ..JobSettings::default() }
}

fn input(scratch: &Path) -> PathBuf {
    let path = scratch.join("readings.jsonl");
    let lines: String = (0..RECORDS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    fs::write(&path, lines).unwrap();
    path
}

/// Counts readings by key and window; asks the job to stop at its first record if `stops`.
fn run(scratch: &Path, input: &Path, workers: usize, stops: bool) -> Result<Snapshot, JobError> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings(scratch, workers)).prepared_by(move || Ok(Arc::clone(&asked)));
    let source = FileSource::new([input], |reading: &Reading| EventTime((reading.n * STEP_MS) as i64));
    let sink = FileSink::json_lines(scratch.join("out"));
    Job::new("slim", setup).run(move |flow| {
        let stop = Arc::clone(&stop);
        flow.source("readings", &source)?
            .map(move |reading: Reading| {
                stop.fetch_or(stops, Ordering::Relaxed);
                reading
            })
            .key_by(|reading: &Reading| reading.n % KEYS)
            .window("counts", Assigner::tumbling(WINDOW))
            .aggregate(counting())?
            .results
            .sink("out", &sink)
    })
}

/// Returns the counts that were published, by window and key.
fn published(scratch: &Path) -> BTreeMap<(i64, u64), u64> {
    let mut counts = BTreeMap::new();
    let parts = fs::read_dir(scratch.join("out")).unwrap().map(|part| part.unwrap().path());
    for part in parts.filter(|part| part.extension().is_some_and(|extension| extension == "jsonl")) {
        for line in fs::read_to_string(part).unwrap().lines() {
            let result: Windowed<u64, u64> = serde_json::from_str(line).unwrap();
            let twice = counts.insert((result.window.start.0, result.key), result.value);
            assert_eq!(twice, None, "{line} came twice");
        }
    }
    counts
}

#[test]
fn a_windowed_program_over_files_goes_on_from_its_checkpoint_at_another_number_of_workers() {
    let scratch = tempfile::tempdir().unwrap();
    let input = input(scratch.path());
    assert_eq!(run(scratch.path(), &input, 2, true).unwrap().state, JobState::Stopped);
    assert!(published(scratch.path()).values().sum::<u64>() < RECORDS, "it had ended before it was stopped");
    assert_eq!(run(scratch.path(), &input, 3, false).unwrap().state, JobState::Finished);
    let mut expected = BTreeMap::new();
    for n in 0..RECORDS {
        *expected.entry(((n * STEP_MS) as i64 / WINDOW_MS * WINDOW_MS, n % KEYS)).or_default() += 1;
    }
    assert_eq!(published(scratch.path()), expected);
}

#[cfg(not(any(feature = "rocksdb", feature = "http", feature = "parquet")))]
#[test]
fn what_the_program_is_built_without_is_refused_by_the_name_of_its_feature() {
    let scratch = tempfile::tempdir().unwrap();
    let refused = |settings: JobSettings, input: &str| {
        let source = FileSource::new([scratch.path().join(input)], |reading: &Reading| EventTime(reading.n as i64));
        let job = Job::new("slim", settings);
        job.run(move |flow| flow.source("readings", &source)?.sink("out", &NullSink::default())).unwrap_err().report()
    };
    let settings = || settings(scratch.path(), 1);
    fs::write(scratch.path().join("a.parquet"), "PAR1").unwrap();
    for (feature, error) in [
        ("rocksdb", refused(JobSettings { state_memory: Some(1 << 20), ..settings() }, "none.jsonl")),
        ("http", refused(JobSettings { http: "127.0.0.1:0".parse().ok(), ..settings() }, "none.jsonl")),
        ("parquet", refused(settings(), "a.parquet")),
    ] {
        assert!(error.contains(&format!("build it with the feature \"{feature}\"")), "{feature}: {error}");
    }
}
