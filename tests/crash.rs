//! Jobs that are killed with SIGKILL at random moments: each committed result appears exactly once.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use testkit::{data, example, finish, lines, same_lines, seed, small_example, times};
use tests::control::{check_events, check_predictions, control_file, newest_log, three_versions};
use tidemill::prelude::EventTime;

const SIGKILL: i32 = 9;

/// Runs `job` `kills` times, each time killing it at a random moment and sometimes changing the number of workers, and
/// then once to its end. Returns the number of runs that were killed.
fn run_with_kills(kills: usize, longest: Duration, chance: &mut ChaCha8Rng, job: impl Fn(usize) -> Command) -> usize {
    let (mut killed, mut workers) = (0, 2);
    for _ in 0..kills {
        if chance.random_bool(0.3) {
            workers = chance.random_range(1..=4);
        }
        let mut child = job(workers).spawn().expect("the program starts");
        wait(longest.mul_f64(chance.random()));
        // If the job has already ended, killing it is not an error.
        child.kill().expect("a child can be killed");
        let output = child.wait_with_output().expect("a child ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        let was_killed = output.status.signal() == Some(SIGKILL);
        assert!(was_killed || output.status.success(), "{workers} workers ended with {}: {errors}", output.status);
        killed += usize::from(was_killed);
    }
    finish(&mut job(workers));
    killed
}

#[expect(clippy::disallowed_methods, reason = "the moment of the kill is real time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn fraud(input: &Path, to: &Path) -> Command {
    let mut command = example("fraud_velocity");
    command
        .arg("--input")
        .arg(input)
        .arg("--predictions")
        .arg(to.join("predictions"))
        .arg("--alerts")
        .arg(to.join("alerts"));
    command
}

#[test]
fn kills_leave_every_prediction_once() {
    kill_and_compare(15 * times(), &[], &[]);
}

#[test]
fn kills_with_batches_on_threads_leave_every_prediction_once() {
    kill_and_compare(8 * times(), &["--inference-threads", "2"], &[]);
}

/// A prediction names its version, so equal lines were scored by the same version.
#[test]
fn kills_around_switches_of_the_version_leave_the_predictions_of_a_calm_run() {
    let root = tempfile::tempdir().expect("a scratch folder");
    three_versions(root.path());
    let root = root.path().to_str().expect("a path of text");
    let first = ["--models", root, "--use-model", "fraud_velocity/1"];
    let switches =
        ["--switch", "fraud_velocity/3=2018-06-01T00:00:00Z", "--switch", "fraud_velocity/2=2018-04-20T12:00:00Z"];
    kill_and_compare(8 * times(), &[], &[&first[..], &switches].concat());
}

/// A job waits for the switches of its control file before it scores a transaction of their event times, so each run makes
/// them at the same transactions, however fast it reads and whenever it dies.
#[test]
fn kills_while_switches_at_event_times_are_asked_for_leave_the_predictions_of_a_calm_run() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (models, control) = (scratch.path().join("models"), scratch.path().join("control.jsonl"));
    three_versions(&models);
    const SWITCHES: [(u64, i64, &str); 3] =
        [(3, 30, "2026-01-02T06:00:00Z"), (2, 1, "2026-01-01T01:00:00Z"), (1, 132, "2026-01-06T12:00:00Z")];
    control_file(
        &control,
        &SWITCHES.map(|(version, hours, _)| {
            let from = 1_767_225_600_000_i64 + 3_600_000 * hours;
            json!({ "switch": { "model": format!("fraud_velocity/{version}"), "from_event_time": from } })
        }),
    );
    let job = |to: &str| {
        let mut command = example("fraud_velocity");
        command.args(["--count", "60000", "--use-model", "fraud_velocity/1", "--models"]).arg(&models);
        command.arg("--predictions").arg(scratch.path().join(to));
        command
    };
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let killed = run_with_kills(6 * times(), Duration::from_millis(800), &mut chance, |workers| {
        let mut command = job("stormy");
        command.args(["--rate", "20000", "--checkpoint-interval", "100ms", "--workers", &workers.to_string()]);
        command.arg("--control").arg(&control).arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        command
    });
    let log = newest_log(&scratch.path().join("checkpoints"));
    assert_eq!(log.len(), SWITCHES.len(), "{log:?}");
    finish(job("fast").arg("--control").arg(&control));
    // The calm job has the switches from its start.
    let mut calm = job("calm");
    for (version, _, from) in SWITCHES {
        calm.arg("--switch").arg(format!("fraud_velocity/{version}={from}"));
    }
    finish(&mut calm);
    assert!(killed > 0, "no run was killed");
    same_lines(&scratch.path().join("calm"), &scratch.path().join("stormy"));
    same_lines(&scratch.path().join("calm"), &scratch.path().join("fast"));
    let lines = lines(&scratch.path().join("calm"));
    for version in 1..=3 {
        let name = format!("\"fraud_velocity/{version}@");
        assert!(lines.iter().any(|line| line.contains(&name)), "version {version} has scored nothing");
    }
}

/// The rollout begins with the job, and goes on where it was.
#[test]
fn kills_during_a_rollout_do_not_begin_it_anew() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (models, settings) = (scratch.path().join("models"), scratch.path().join("settings.json"));
    three_versions(&models);
    let steps = json!({
        "shadow_records": 500, "shadow_interval": "1h", "steps": [0.2, 0.5], "interval": "12h", "min_records": 500,
    });
    std::fs::write(&settings, steps.to_string()).expect("a file");
    let count = 60_000;
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let killed = run_with_kills(6 * times(), Duration::from_millis(1200), &mut chance, |workers| {
        let mut command = example("fraud_velocity");
        command.args(["--count", &count.to_string(), "--rate", "10000", "--use-model", "fraud_velocity/1"]);
        command.args(["--checkpoint-interval", "100ms", "--workers", &workers.to_string(), "--models"]).arg(&models);
        command.arg("--rollout").arg(format!("fraud_velocity/2={}", settings.display()));
        command.arg("--predictions").arg(scratch.path().join("predictions"));
        command.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        command
    });
    let log = newest_log(&scratch.path().join("checkpoints"));
    let asked: Vec<&str> = log.iter().filter(|entry| entry.by == "the command line").map(|entry| &*entry.id).collect();
    assert_eq!(asked, ["rollout of fraud_velocity/2"]);
    assert!(killed > 0 && log.iter().any(|entry| entry.reason.contains("is promoted")), "{killed} killed: {log:?}");
    let [first, _, second, _] = check_predictions(&scratch.path().join("predictions"), &log, 1, count);
    assert!(first > 0 && second > 0, "{first}, {second}: {log:?}");
}

/// Predictions of several epochs gather in a part, in the folder of their day; each restart closes the parts.
#[test]
fn kills_leave_each_prediction_in_the_folder_of_its_day_once() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (lake, predictions) = (scratch.path().join("lake"), scratch.path().join("predictions"));
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let killed = run_with_kills(8 * times(), Duration::from_millis(1200), &mut chance, |workers| {
        let mut command = example("fraud_velocity");
        command.args(["--count", "60000", "--rate", "15000", "--workers", &workers.to_string()]);
        command.args(["--checkpoint-interval", "50ms", "--checkpoint-dir"]).arg(scratch.path().join("checkpoints"));
        command.arg("--predictions").arg(&predictions).arg("--lake").arg(&lake).args(["--lake-roll", "300ms"]);
        command
    });
    assert!(killed > 0, "no run was killed");
    let (mut rows, mut parts) = (Vec::new(), 0);
    for day in entries(&lake) {
        let name = day.file_name().and_then(|name| name.to_str()).expect("a name of text");
        for part in entries(&day) {
            let file = std::fs::File::open(&part).expect("a part that can be read");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
            for batch in reader.expect("a part of Parquet") {
                let found: Vec<Value> = serde_arrow::from_record_batch(&batch.expect("rows")).expect("rows");
                for row in &found {
                    let ts = EventTime(row["ts"].as_i64().expect("a time")).readable();
                    assert_eq!(name, format!("dt={}", &ts[..10]), "{row}");
                }
                rows.extend(found);
            }
            parts += 1;
        }
    }
    let id = |row: &Value| row["tx_id"].as_u64();
    rows.sort_by_key(id);
    let mut wanted: Vec<Value> =
        lines(&predictions).iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    wanted.sort_by_key(id);
    assert_eq!((rows.len(), wanted.len()), (60_000, 60_000));
    for (row, mut wanted) in rows.iter().zip(wanted) {
        // Text has as many digits of a score as tell it from other floats of 32 bits.
        let score = wanted["score"].as_f64().expect("a score") as f32;
        wanted["score"] = f64::from(score).into();
        assert_eq!(*row, wanted);
    }
    let files = entries(&predictions).len();
    println!("{killed} runs were killed; {parts} parts of Parquet beside {files} of lines");
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The changes are asked for at the start, and take effect one after the other: loading, scheduled, switched, in a manifest or
/// not, the job is killed at any of these.
#[test]
fn kills_while_models_are_changed_leave_each_prediction_to_the_version_of_its_manifest() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    (0..times()).for_each(|_| kill_while_models_are_changed(&mut chance));
}

fn kill_while_models_are_changed(chance: &mut ChaCha8Rng) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (models, control) = (scratch.path().join("models"), scratch.path().join("control.jsonl"));
    three_versions(&models);
    let model = |version: u64| format!("fraud_velocity/{version}");
    let mut changes = Vec::new();
    for round in 0..6 {
        let (one, other) = (model(1 + round % 3), model(1 + (round + 1) % 3));
        changes.extend([
            json!({ "switch": { "model": one } }),
            json!({ "canary": { "model": other, "share": 0.1 } }),
            json!({ "canary": { "model": other, "share": 0.3 } }),
            json!({ "switch": { "model": other } }),
            json!({ "shadow": { "model": one } }),
            if round % 2 == 0 { json!({ "promote": {} }) } else { json!({ "roll_back": {} }) },
            json!({ "switch": { "model": "fraud_velocity/9" } }),
        ]);
    }
    // The last day waits for this one, and so for all that were asked for before it.
    let last_day = json!({ "model": model(2), "from_event_time": "2026-01-06T00:00:00Z" });
    changes.push(json!({ "switch": last_day }));
    control_file(&control, &changes);
    let count = 60_000;
    let kills = 12;
    let killed = run_with_kills(kills, Duration::from_millis(1000), chance, |workers| {
        let mut command = example("fraud_velocity");
        // So slow that records are left for the last run: on a busy machine no other lives until a version is loaded.
        command.args(["--count", &count.to_string(), "--rate", "5000", "--use-model", "fraud_velocity/1"]);
        command.args(["--checkpoint-interval", "100ms", "--workers", &workers.to_string(), "--models"]).arg(&models);
        command.arg("--control").arg(&control).arg("--predictions").arg(scratch.path().join("predictions"));
        command.arg("--model-events").arg(scratch.path().join("events"));
        command.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        command
    });
    // A restart needs no repository: the checkpoint has the versions that are in use.
    assert!(
        std::fs::read_dir(scratch.path().join("checkpoints/versions/score")).is_ok_and(|copies| copies.count() > 0)
    );
    let log = newest_log(&scratch.path().join("checkpoints"));
    check_events(&scratch.path().join("events"), &log);
    let by_version = check_predictions(&scratch.path().join("predictions"), &log, 1, count);
    println!(
        "{killed} of {kills} runs were killed; {} changes; predictions of each version: {by_version:?}",
        log.len()
    );
    // All but those of a version that is not there, and promotions of what had ended.
    assert!(killed >= kills / 4 && log.len() >= 30, "{killed} killed, {} changes", log.len());
    assert!(by_version[1..].iter().all(|count| *count > 0), "{by_version:?}");
}

/// Compares a job that is killed, and has the flags `more` and `both`, with one that is not, and has the flags `both`.
fn kill_and_compare(kills: usize, more: &[&str], both: &[&str]) {
    let Some(input) = data("transactions.csv.gz") else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (calm, stormy) = (scratch.path().join("calm"), scratch.path().join("stormy"));
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let killed = run_with_kills(kills, Duration::from_millis(1500), &mut chance, |workers| {
        let mut command = fraud(&input, &stormy);
        command.args(more).args(both);
        command.args(["--checkpoint-interval", "100ms", "--workers", &workers.to_string()]);
        command.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        command
    });
    finish(fraud(&input, &calm).args(both));
    println!("{killed} of {kills} runs were killed before their end");
    assert!(killed >= kills / 4, "only {killed} runs were killed: the machine is too fast for this test to mean much");
    for output in ["predictions", "alerts"] {
        same_lines(&calm.join(output), &stormy.join(output));
    }
}

#[test]
fn kills_of_a_windowed_job_leave_every_window_once() {
    let Some(input) = data("sensors.csv.gz") else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let job = |to: &str| {
        let mut command = example("iot_window");
        command.arg("--input").arg(&input).arg("--features").arg(scratch.path().join(to));
        command
    };
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    run_with_kills(20 * times(), Duration::from_millis(250), &mut chance, |workers| {
        let mut command = job("stormy");
        command.args(["--checkpoint-interval", "20ms", "--workers", &workers.to_string()]);
        command.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        command
    });
    finish(&mut job("calm"));
    same_lines(&scratch.path().join("calm"), &scratch.path().join("stormy"));
}

/// How long a job lives once its sources read: much less than its `checkpoint_interval`.
const LIFE: Duration = Duration::from_millis(400);

/// A restart that needs one long epoch, or a base, before its first commit would never get on here.
#[test]
fn a_job_that_never_lives_for_an_epoch_gets_to_its_end() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let records = 60_000 * times().min(5);
    // At this rate the records take three seconds (in soak, fifteen), so some ten lives are needed at best.
    let job = |to: &str, workers: usize| {
        let mut command = small_example("fraud_velocity");
        command.args(["--count", &records.to_string(), "--rate", "20000", "--log-level", "info"]);
        command.args(["--workers", &workers.to_string(), "--checkpoint-interval", "1s"]);
        command.arg("--features").arg(scratch.path().join(to));
        command
    };
    let most = 30 * times().min(5);
    let mut starts = 0;
    loop {
        starts += 1;
        assert!(starts <= most, "after {most} starts the job has not come to its end");
        let mut command = job("stormy", 2);
        command.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        let mut child = command.spawn().expect("the program starts");
        wait_until_it_reads(&mut child);
        wait(LIFE);
        child.kill().expect("a child can be killed");
        if child.wait().expect("a child ends").success() {
            break;
        }
    }
    println!("{starts} starts");
    finish(&mut job("calm", 1));
    same_lines(&scratch.path().join("calm"), &scratch.path().join("stormy"));
}

/// Waits for the line of the log that says how long the start took.
fn wait_until_it_reads(child: &mut Child) {
    let log = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines = log.lines().map_while(Result::ok);
    let begun =
        |line: &String| line.contains("started in") || line.contains("restored epoch") || line.contains("finished job");
    if lines.find(begun).is_some() {
        // The rest is read, too, so that the job never waits for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
    }
}
