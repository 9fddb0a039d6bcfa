//! A job with a reference file, killed by SIGKILL again and again while the file is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill::prelude::*;

use crate::reference::{Emitted, Rows, Shop, add_up, chains, replace, shops};
use testkit::{lines, seed};

/// The variables that make a process of this test run the job: its folder, and its number of workers.
const FOLDER: &str = "TIDEMILL_REFERENCE_JOB";
const WORKERS: &str = "TIDEMILL_REFERENCE_WORKERS";
const SIGKILL: i32 = 9;
/// The outputs: the changes of the file, and the changes of a table that follows it.
const OUTPUTS: [&str; 2] = ["rows", "view"];
const KILLS: usize = 25;
/// Maximum time for a version to reach the output, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes each change with its event time.
struct Timed;

impl KeyedLogic for Timed {
    type Key = u32;
    type In = Emitted;
    type Out = (i64, Emitted);
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u32, (i64, Emitted), ()>,
        record: Record<Emitted>,
    ) -> Result<(), LogicError> {
        ctx.emit((record.event_time.0, record.data));
        Ok(())
    }
}

/// Runs the job until it is killed.
fn run(folder: &Path, workers: usize) {
    let args = JobArgs {
        settings: JobSettings {
            workers,
            checkpoint_dir: Some(folder.join("checkpoints")),
            checkpoint_interval: Duration::from_millis(20),
            ..JobSettings::default()
        },
        log_level: "warn".to_owned(),
        ..JobArgs::default()
    };
    let file = shops(&folder.join("shops.csv")).reload_every(Duration::from_millis(10));
    // Event time follows the clock, as in a job with a steady input.
    let clock = Clock::system();
    let ticks = Generator::new(u64::MAX, move |_| (EventTime(clock.processing_time().0), ())).rate(6_400.0);
    let to = OUTPUTS.map(|output| FileSink::json_lines(folder.join(output)));
    let result = Job::new("shops", args).run(move |flow| {
        flow.source("ticks", &ticks)?.sink("ticks-out", &NullSink::default())?;
        let rows = flow.reference("shops", &file)?.map(|(key, row)| Upsert { key, row });
        let view = rows.clone().table("table", Changelog::new(|row| row))?.results.upserts("view")?;
        OUTPUTS.into_iter().zip([rows, view]).zip(&to).try_for_each(|((output, changes), to)| {
            let changes = changes.key_by(|change| change.key);
            let timed = changes.process(&format!("timed {output}"), Order::Arrival, |_| Ok(Timed))?.results;
            timed.sink(&format!("sink {output}"), to)
        })
    });
    panic!("the job ended by itself: {:?}", result.map_err(|error| error.report()));
}

fn start(folder: &Path, workers: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.stdout(Stdio::null());
    command.args(["--exact", "reference_kills::a_killed_job_emits_each_change_of_its_file_once", "--nocapture"]);
    command.env(FOLDER, folder).env(WORKERS, workers.to_string());
    command.spawn().unwrap()
}

/// Kills the job, and checks that it was running until then.
fn kill(mut child: Child) {
    assert!(child.try_wait().unwrap().is_none(), "the job ended by itself");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
}

#[expect(clippy::disallowed_methods, reason = "the moments of kills and of new versions are real time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Returns all committed changes in the order of their event times.
fn emitted(folder: &Path, output: &str) -> Vec<(i64, Emitted)> {
    let lines = lines(&folder.join(output));
    let mut changes: Vec<(i64, Emitted)> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    changes.sort();
    changes
}

fn rows_of(changes: &[(i64, Emitted)]) -> Rows {
    let rows: BTreeMap<u32, Option<Shop>> = changes.iter().map(|(_, change)| (change.key, change.row)).collect();
    rows.into_iter().filter_map(|(id, row)| Some((id, row?.risk))).collect()
}

/// Waits until the running job has emitted this version of the file.
fn emits(folder: &Path, version: &Rows) {
    let since = Instant::now();
    while OUTPUTS.iter().any(|output| rows_of(&emitted(folder, output)) != *version) {
        assert!(since.elapsed() < PATIENCE, "the last version is not emitted");
        wait(Duration::from_millis(50));
    }
}

#[test]
fn a_killed_job_emits_each_change_of_its_file_once() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return run(Path::new(&folder), std::env::var(WORKERS).unwrap().parse().unwrap());
    }
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    // The first kill may come before the job has created the folders.
    OUTPUTS.iter().for_each(|output| fs::create_dir(folder.join(output)).unwrap());
    let mut versions: Vec<Rows> = Vec::new();
    let mut next = |chance: &mut ChaCha8Rng| {
        let chain = |chance: &mut ChaCha8Rng| (chance.random_range(0..50), chance.random_range(0..4));
        versions.push(chains((0..40).map(|_| chain(chance)).collect()));
        replace(&folder.join("shops.csv"), versions.last().unwrap());
        versions.last().unwrap().clone()
    };
    next(&mut chance);
    let mut workers = 2;
    for _ in 0..KILLS {
        if chance.random_bool(0.3) {
            workers = chance.random_range(1..=4);
        }
        let job = start(folder, workers);
        for _ in 0..chance.random_range(0..4) {
            wait(Duration::from_millis(chance.random_range(0..300)));
            next(&mut chance);
        }
        // Others are killed while they start, or before their first commit: on a slow machine nearly all would be.
        if chance.random_bool(0.5) {
            let newest = next(&mut chance);
            emits(folder, &newest);
        }
        wait(Duration::from_millis(chance.random_range(0..100)));
        kill(job);
    }
    let last = next(&mut chance);
    let job = start(folder, workers);
    emits(folder, &last);
    wait(Duration::from_millis(500));
    kill(job);
    for output in OUTPUTS {
        let changes = emitted(folder, output);
        let times = changes.chunk_by(|a, b| a.0 == b.0).count();
        println!("{output}: {} changes at {times} times, of {} versions", changes.len(), versions.len());
        assert!(times > 5, "{times} versions were emitted: the jobs were killed too soon for this test to mean much");
        let mut rows = Rows::new();
        add_up(&mut rows, changes, &versions, KILLS);
        assert_eq!(rows, last);
    }
}
