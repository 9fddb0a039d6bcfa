//! Savepoints of jobs that run and are killed: what is restored from one gives exactly the results of a run that nothing
//! disturbed, wherever the savepoint is; the job never touches it; nothing half is ever seen; damage is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{fail_with, finish, lines, same_lines, small_example};

const COUNT: u64 = 60_000;

fn tidemill(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemill")).args(args).output().expect("the command starts")
}

/// Runs the command over a store. Checks its exit code, and returns what it prints, to stdout if it succeeds.
fn run(store: &Path, code: i32, args: &[&str]) -> String {
    let output = tidemill(&[args, &["--store", text(store)]].concat());
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}\n{errors}");
    if code == 0 { out.into_owned() } else { errors.into_owned() }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// The job, without the flags of its checkpoints: it computes features of a stream of transactions. Their labels are
/// known at once, so that rows come out while it runs.
fn program(output: &Path, more: &[&str]) -> Command {
    let mut command = small_example("fraud_velocity");
    command.args(["--count", &COUNT.to_string(), "--checkpoint-interval", "50ms", "--log-level", "warn"]);
    command.args(["--label-delay", "0s"]).args(more).arg("--features").arg(output);
    command
}

fn job(store: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = program(output, more);
    command.arg("--checkpoint-dir").arg(store);
    command
}

/// The results of a run that nothing disturbs.
fn calm(scratch: &Path) -> PathBuf {
    let output = scratch.join("calm");
    finish(&mut program(&output, &[]));
    assert_eq!(lines(&output).len() as u64, COUNT);
    output
}

fn epochs(store: &Path) -> Vec<u64> {
    let entries = fs::read_dir(store.join("manifests")).into_iter().flatten().flatten();
    let number =
        |path: PathBuf| path.extension().filter(|e| *e == "json").and(path.file_stem())?.to_str()?.parse().ok();
    let mut epochs: Vec<u64> = entries.filter_map(|entry| number(entry.path())).collect();
    epochs.sort_unstable();
    epochs
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what} did not happen in two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for_epoch(store: &Path, job: &mut Child, epoch: u64) {
    wait_until("the epoch", || {
        assert!(job.try_wait().expect("a child").is_none(), "the job ended");
        epochs(store).last().is_some_and(|newest| *newest >= epoch)
    });
}

fn kill(mut job: Child) {
    job.kill().expect("a child can be killed");
    job.wait().expect("a child ends");
}

/// A job that was killed, and a savepoint that was taken of it while it ran, some time before.
struct Taken {
    scratch: tempfile::TempDir,
    store: PathBuf,
    output: PathBuf,
    epoch: u64,
}

const NAME: &str = "before-v2";

impl Taken {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let (store, output) = (scratch.path().join("checkpoints"), scratch.path().join("output"));
        let start =
            |workers| job(&store, &output, &["--rate", "8000", "--workers", workers]).spawn().expect("it starts");
        let mut child = start("1");
        wait_for_epoch(&store, &mut child, 3);
        kill(child);
        // The first epoch by another number of workers takes a base.
        let mut child = start("2");
        let last = *epochs(&store).last().expect("a checkpoint");
        wait_for_epoch(&store, &mut child, last + 4);
        run(&store, 0, &["savepoint", "take", NAME]);
        let taken = Self { epoch: savepoint_epoch(&store), scratch, store, output };
        // The job runs on, until retention has removed the checkpoint.
        wait_for_epoch(&taken.store, &mut child, taken.epoch + 8);
        kill(child);
        assert!(!epochs(&taken.store).contains(&taken.epoch), "retention has removed its checkpoint");
        taken
    }

    fn place(&self) -> PathBuf {
        self.store.join("savepoints").join(NAME)
    }

    /// Returns a new folder with the output up to the savepoint: what is published is not removed by a restore.
    fn output_until_then(&self, name: &str) -> PathBuf {
        let to = self.scratch.path().join(name);
        fs::create_dir(&to).expect("a folder");
        for part in fs::read_dir(&self.output).expect("a folder").flatten() {
            let file = part.file_name().into_string().expect("text");
            let epoch = file.strip_prefix("part-e").and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
            if epoch.is_some_and(|epoch| epoch <= self.epoch) {
                fs::copy(part.path(), to.join(&file)).expect("a copy");
            }
        }
        to
    }
}

fn savepoint_epoch(store: &Path) -> u64 {
    let listed: Value = serde_json::from_str(&run(store, 0, &["savepoint", "list", "--json"])).expect("JSON");
    let savepoints = listed["savepoints"].as_array().expect("a list");
    assert_eq!(savepoints.len(), 1, "{listed}");
    assert_eq!(savepoints[0]["name"], NAME);
    savepoints[0]["epoch"].as_u64().expect("an epoch")
}

fn is_whole(savepoint: &Path) {
    let found = run(savepoint, 0, &["checkpoints", "verify"]);
    assert!(found.contains("1 of 1 checkpoints are whole") && !found.contains("notice"), "{found}");
}

/// The names of all files below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.append(&mut files(&path)) } else { _ = found.insert(path) }
    }
    found
}

/// The names of the deltas and bases that a checkpoint names.
fn named(store: &Path, epoch: u64) -> BTreeSet<String> {
    let manifest = fs::read(store.join(format!("manifests/{epoch:020}.json"))).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let workers = manifest["workers"].as_array().expect("workers").iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of_worker = |worker: &Value| {
        let deltas = worker["deltas"].as_array().expect("deltas").iter().filter_map(|delta| text(&delta["file"]));
        deltas.chain(text(&worker["base"]["dir"])).collect::<Vec<_>>()
    };
    workers.flat_map(of_worker).collect()
}

#[test]
fn a_savepoint_of_a_running_job_restores_where_it_is_and_where_it_was_moved() {
    let taken = Taken::new();
    let (scratch, store) = (taken.scratch.path(), &taken.store);
    let calm = calm(scratch);
    is_whole(&taken.place());
    let found = run(store, 0, &["checkpoints", "verify"]);
    assert!(!found.contains("unexpected"), "{found}");

    // In the same directory, by its name, with another number of workers: later checkpoints are discarded.
    let output = taken.output_until_then("again");
    finish(job(store, &output, &["--workers", "3"]).args(["--restore", &format!("savepoint:{NAME}")]));
    same_lines(&calm, &output);
    is_whole(&taken.place());

    // Moved elsewhere, into a new directory, by the command, which becomes the program.
    let moved = scratch.join("elsewhere");
    fs::rename(taken.place(), &moved).expect("it is moved");
    let (other, output) = (scratch.join("other"), taken.output_until_then("moved"));
    let command = program(&output, &[]);
    let mut restore = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    restore.args(["savepoint", "restore", text(&moved), "--store", text(&other), "--"]);
    restore.current_dir(command.get_current_dir().expect("a folder")).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(restore.arg(command.get_program()).args(command.get_args()));
    same_lines(&calm, &output);
    is_whole(&moved);
    run(&other, 0, &["checkpoints", "verify"]);
    // Nothing of the new directory needs the savepoint.
    fs::remove_dir_all(&moved).expect("it is removed");
    run(&other, 0, &["checkpoints", "verify"]);
}

#[test]
fn the_first_checkpoint_after_a_savepoint_stands_alone_also_when_the_job_is_killed_before_it() {
    let taken = Taken::new();
    let scratch = taken.scratch.path();
    let calm = calm(scratch);
    let (store, output) = (scratch.join("other"), taken.output_until_then("alone"));
    let savepoint = format!("savepoint:{}", taken.place().display());
    let mut first = job(&store, &output, &["--workers", "2", "--restore", &savepoint]);
    let killed = first.env("TIDEMILL_CRASH_AT", "before-manifest:1").output().expect("the job starts");
    assert!(killed.status.code().is_none(), "it was to be killed: {}", String::from_utf8_lossy(&killed.stderr));
    let claims = epochs(&store);
    assert!(claims.first() > Some(&taken.epoch), "its numbers are above that of the savepoint: {claims:?}");

    // The savepoint is not there, and not named again: the claim has all that is needed.
    let hidden = scratch.join("hidden");
    fs::rename(taken.place(), &hidden).expect("it is moved");
    let mut second = job(&store, &output, &["--workers", "2", "--retain-checkpoints", "100000"]);
    let mut second = second.args(["--rate", "20000"]).spawn().expect("the job starts");
    wait_for_epoch(&store, &mut second, claims[0] + 4);
    kill(second);
    finish(&mut job(&store, &output, &["--workers", "2"]));
    same_lines(&calm, &output);

    // Restored once more, without a kill: the first checkpoint names no file of the savepoint.
    let (store, output) = (scratch.join("third"), taken.output_until_then("third-output"));
    let savepoint = format!("savepoint:{}", hidden.display());
    finish(&mut job(&store, &output, &["--workers", "2", "--retain-checkpoints", "100000", "--restore", &savepoint]));
    let of_savepoint = named(&hidden, taken.epoch);
    let checkpoints: Vec<u64> = epochs(&store).into_iter().filter(|epoch| is_checkpoint(&store, *epoch)).collect();
    assert!(!checkpoints.is_empty() && !of_savepoint.is_empty());
    for epoch in checkpoints {
        let shared: Vec<String> = named(&store, epoch).intersection(&of_savepoint).cloned().collect();
        assert!(shared.is_empty(), "epoch {epoch} names {shared:?}");
    }
    is_whole(&hidden);
    same_lines(&calm, &output);
}

fn is_checkpoint(store: &Path, number: u64) -> bool {
    let manifest = fs::read(store.join(format!("manifests/{number:020}.json"))).expect("a manifest");
    serde_json::from_slice::<Value>(&manifest).expect("JSON")["workers"].is_array()
}

#[test]
fn a_claimed_savepoint_becomes_the_jobs() {
    let taken = Taken::new();
    let scratch = taken.scratch.path();
    let (store, output) = (scratch.join("other"), taken.output_until_then("claimed"));
    let savepoint = format!("savepoint:{}", taken.place().display());
    let claim = ["--workers", "2", "--restore", &savepoint, "--claim-mode", "claim"];
    // A start that is refused leaves it alone, and leaves nothing behind.
    let before = files(&taken.place());
    fail_with(2, job(&store, &taken.output, &claim).stdout(Stdio::piped()));
    assert_eq!(files(&taken.place()), before);
    assert_eq!(files(&store), BTreeSet::new());
    finish(&mut job(&store, &output, &claim));
    assert!(!taken.place().exists(), "it is the job's, which has deleted it");
    assert_eq!(files(&taken.store.join("savepoints")), BTreeSet::new());
    same_lines(&calm(scratch), &output);
    run(&store, 0, &["checkpoints", "verify"]);
}

#[test]
fn a_killed_command_leaves_nothing_half() {
    let taken = Taken::new();
    let store = &taken.store;
    let newest = *epochs(store).last().expect("a checkpoint");
    let delta = store.join(named(store, newest).into_iter().find(|file| file.starts_with("deltas")).expect("a delta"));
    // Where the file is a pipe, the command waits for whoever writes to it: so it is killed in the middle.
    let aside = taken.scratch.path().join("aside");
    fs::rename(&delta, &aside).expect("it is moved");
    assert!(Command::new("mkfifo").arg(&delta).status().expect("mkfifo").success());
    let savepoints = store.join("savepoints");
    let hidden = || fs::read_dir(&savepoints).expect("a folder").flatten().filter(|e| e.file_name() != NAME).count();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let mut child = command.args(["savepoint", "take", "half", "--store", text(store)]).spawn().expect("it starts");
    wait_until("a draft", || hidden() == 1);
    assert!(child.try_wait().expect("a child").is_none(), "it waits");
    assert_eq!(savepoint_epoch(store), taken.epoch, "a draft is not listed");
    kill(child);
    assert_eq!((savepoint_epoch(store), hidden()), (taken.epoch, 1), "what is half is not listed");
    fs::rename(&aside, &delta).expect("it is moved back");
    run(store, 0, &["savepoint", "take", "half"]);
    assert_eq!(hidden(), 1, "only the whole savepoint is there");
    is_whole(&savepoints.join("half"));
    // It is there once, and stays as it is.
    let errors = run(store, 2, &["savepoint", "take", "half"]);
    assert!(errors.contains("exists already"), "{errors}");

    // Copies are of their own, and may be anywhere.
    let copy = taken.scratch.path().join("backup/copy");
    run(store, 0, &["savepoint", "copy", "half", text(&copy)]);
    is_whole(&copy);
    assert!(run(store, 0, &["savepoint", "delete", "half"]).contains("add --yes"));
    is_whole(&savepoints.join("half"));
    run(store, 0, &["savepoint", "delete", "half", "--yes"]);
    assert_eq!(hidden(), 0);
    is_whole(&copy);
    assert!(run(store, 2, &["savepoint", "delete", "half", "--yes"]).contains("tidemill savepoint list"));
}

#[test]
fn a_damaged_savepoint_is_refused_with_the_file_and_the_byte() {
    let taken = Taken::new();
    let scratch = taken.scratch.path();
    let (store, output) = (scratch.join("other"), scratch.join("none"));
    let savepoint = format!("savepoint:{}", taken.place().display());
    let start = || job(&store, &output, &["--restore", &savepoint]);
    let of = |folder: &str| {
        let all = files(&taken.place().join(folder)).into_iter();
        all.max_by_key(|file| fs::metadata(file).map_or(0, |metadata| metadata.len())).expect("a file")
    };
    for file in [of("deltas"), of("bases")] {
        let name = file.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
        let bytes = fs::read(&file).expect("a file");
        // The file may be the job's as well: it is replaced, not changed.
        let put = |bytes: &[u8]| {
            fs::remove_file(&file).expect("it is removed");
            fs::write(&file, bytes).expect("it is written");
        };
        let mut flipped = bytes.clone();
        flipped[17] ^= 1;
        put(&flipped);
        let errors = fail_with(4, &mut start());
        assert!(errors.contains(&name) && errors.contains("at byte 17"), "{errors}");
        put(&bytes[..bytes.len() - 1]);
        let errors = fail_with(4, &mut start());
        let at = format!("at byte {}", bytes.len() - 1);
        assert!(errors.contains(&name) && errors.contains("truncated") && errors.contains(&at), "{errors}");
        fs::remove_file(&file).expect("it is removed");
        let errors = fail_with(4, &mut start());
        assert!(errors.contains(&name) && errors.contains("missing"), "{errors}");
        fs::write(&file, &bytes).expect("it is written");
    }
    let manifest = of("manifests");
    let bytes = fs::read(&manifest).expect("a manifest");
    fs::write(&manifest, &bytes[..bytes.len() / 2]).expect("it is written");
    let errors = fail_with(4, &mut start());
    assert!(errors.contains(&format!("{:020}.json", taken.epoch)), "{errors}");
    assert_eq!(files(&store), BTreeSet::new(), "nothing was begun");
    fs::write(&manifest, &bytes).expect("it is written");

    // What is no savepoint, and a savepoint of another job.
    let errors = fail_with(2, &mut job(&taken.store, &output, &["--restore", "savepoint:none"]));
    assert!(errors.contains("is not a savepoint"), "{errors}");
    let whole = format!("savepoint:{}", taken.store.display());
    let errors = fail_with(2, &mut job(&store, &output, &["--restore", &whole]));
    assert!(errors.contains("is the checkpoint directory of a job"), "{errors}");
    let mut other = small_example("iot_window");
    other.args(["--restore", &savepoint, "--checkpoint-dir", text(&store)]).arg("--features").arg(&output);
    let errors = fail_with(2, &mut other);
    assert!(errors.contains("belongs to job \"fraud_velocity\""), "{errors}");
    // A program that lacks an operator: the checkpoint's has another name now.
    let mut changed = job(&store, &output, &["--restore", &savepoint, "--renamed", "card-velocity=old-velocity"]);
    let errors = fail_with(2, &mut changed);
    assert!(errors.contains("old-velocity/") && errors.contains("no operator of this program declares"), "{errors}");
    assert_eq!(files(&store), BTreeSet::new(), "nothing is left of the starts that were refused");
    is_whole(&taken.place());
}
