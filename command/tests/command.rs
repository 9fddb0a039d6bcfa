//! The command as a person types it: over the checkpoints of a job that runs, of one that was stopped, and of a damaged
//! one. A running job does not notice it. The page of the command has its help, word for word.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use testkit::page::ReferencePage;
use testkit::{example, project};

fn tidemill(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemill")).args(args).output().expect("the command starts")
}

/// Runs an action over a store. Checks its exit code, and returns what it prints to stdout.
fn checkpoints(store: &Path, code: i32, args: &[&str]) -> String {
    let store = store.to_string_lossy();
    let output = tidemill(&[&["checkpoints"], args, &["--store", &store]].concat());
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}\n{errors}");
    assert_eq!(errors.is_empty(), code == 0, "{args:?}: {errors}");
    if code != 0 && code != 4 {
        return errors.into_owned();
    }
    out.into_owned()
}

fn start(folder: &Path) -> Child {
    let mut job = example("fraud_velocity");
    job.args(["--rate", "20000", "--checkpoint-interval", "50ms", "--count", "1000000000", "--checkpoint-dir"]);
    job.arg(folder.join("checkpoints")).arg("--predictions").arg(folder.join("predictions"));
    job.spawn().expect("the job starts")
}

fn stop(job: Child) {
    assert!(Command::new("kill").args(["-TERM", &job.id().to_string()]).status().expect("kill").success());
    let output = job.wait_with_output().expect("the job ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The numbers of the newest file and of the claims of starts, as `list --json` has them.
fn numbers(store: &Path) -> (u64, usize) {
    let text = checkpoints(store, 0, &["list", "--json"]);
    let number = |line: &str| line.trim().strip_prefix("\"number\": ")?.trim_end_matches(',').parse().ok();
    let claims = text.lines().filter(|line| line.contains("\"kind\": \"claim\"")).count();
    (text.lines().filter_map(number).max().unwrap_or_default(), claims)
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait_for_epoch(store: &Path, job: &mut Child, epoch: u64) {
    let began = Instant::now();
    while !store.join("manifests").is_dir() || numbers(store).0 < epoch {
        assert!(began.elapsed() < Duration::from_secs(60), "no epoch {epoch} in a minute");
        assert!(job.try_wait().expect("a child").is_none(), "the job ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_running_job_does_not_notice_the_command_and_damage_of_a_stopped_one_is_found() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = scratch.path().join("checkpoints");
    let mut job = start(scratch.path());
    wait_for_epoch(&store, &mut job, 3);
    let (top, (newest, claims)) = (names(&store), numbers(&store));
    for _ in 0..20 {
        assert!(checkpoints(&store, 0, &["list"]).contains("checkpoint"));
        assert!(checkpoints(&store, 0, &["show"]).contains("STATES"));
        checkpoints(&store, 0, &["verify"]);
    }
    wait_for_epoch(&store, &mut job, newest + 3);
    assert_eq!((names(&store), numbers(&store).1.max(claims)), (top, claims), "nothing was created, nothing claimed");
    stop(job);

    let before = names(&store.join("manifests"));
    let dry = checkpoints(&store, 0, &["prune", "--keep", "1"]);
    assert!(dry.contains("would delete manifests/") && dry.contains("add --yes"), "{dry}");
    assert_eq!(names(&store.join("manifests")), before, "a dry run");
    checkpoints(&store, 0, &["prune", "--keep", "1", "--yes"]);
    assert_eq!(names(&store.join("manifests")).len(), 1);
    assert!(checkpoints(&store, 0, &["verify"]).contains("1 of 1 checkpoints are whole"));
    damaged(&store);
    dumped(&store);
    // The job goes on from what was kept.
    let mut again = start(scratch.path());
    wait_for_epoch(&store, &mut again, newest + 20);
    stop(again);
}

/// Flips a byte of the newest delta, and restores it.
fn damaged(store: &Path) {
    let name = names(&store.join("deltas")).pop_last().expect("a delta");
    let file: PathBuf = store.join("deltas").join(&name);
    let bytes = fs::read(&file).expect("a delta");
    let mut flipped = bytes.clone();
    flipped[40] ^= 4;
    fs::write(&file, flipped).expect("it is written");
    let found = checkpoints(store, 4, &["verify"]);
    assert!(found.contains(&format!("changed: deltas/{name} at byte 40: expected crc32 ")), "{found}");
    assert!(checkpoints(store, 4, &["verify", "latest", "--json"]).contains("\"offset\": 40"));
    fs::write(&file, bytes).expect("it is written");
    checkpoints(store, 0, &["verify"]);
}

/// Every row of a log and of pending records is read without the program's types.
fn dumped(store: &Path) {
    let store = store.to_string_lossy();
    let dump = |state: &str, more: &[&str]| {
        let output = tidemill(&[&["state", "dump", state, "--store", &store], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    for (state, field) in
        [("card-velocity/spent", "\"value\":{\"time\":"), ("terminal-risk/pending", "\"event_time\":")]
    {
        let rows = dump(state, &[]);
        assert!(
            rows.contains(field) && !rows.contains("undecoded"),
            "{state}: {}",
            rows.lines().next().unwrap_or("none")
        );
        assert_eq!(dump(state, &["--count"]).trim(), rows.lines().count().to_string());
        assert_eq!(dump(state, &["--limit", "1"]).lines().count(), 1);
    }
    let output = tidemill(&["state", "dump", "none", "--store", &store]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("card-velocity/spent"), "the error names the states");
}

#[test]
fn what_cannot_be_done_is_said_with_the_exit_code_of_its_kind() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let nothing = checkpoints(scratch.path(), 2, &["list"]);
    assert!(nothing.contains("is not a checkpoint directory"), "{nothing}");
    assert!(names(scratch.path()).is_empty(), "nothing is created");
    assert!(checkpoints(&scratch.path().join("none"), 3, &["list"]).contains("could not open"));
    fs::create_dir(scratch.path().join("manifests")).expect("a folder");
    assert!(checkpoints(scratch.path(), 2, &["show", "7"]).contains("there is none"));
    assert!(checkpoints(scratch.path(), 2, &["show", "latest~x"]).contains("latest~N"));
    assert!(checkpoints(scratch.path(), 2, &["prune"]).contains("--keep"));
}

#[test]
fn the_page_of_the_command_has_its_help() {
    let page = ReferencePage::read(&project().join("docs/operate/command.md"));
    let actions = ["list", "show", "verify", "prune"].map(|action| ["checkpoints", action]);
    for [topic, action] in actions.into_iter().chain([["state", "dump"]]) {
        let help = String::from_utf8(tidemill(&[topic, action, "-h"]).stdout).expect("text");
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        let written = page.code(Some(&format!("tidemill {topic} {action}")), "text");
        assert_eq!(written, help.join("\n"), "the page of `{action}`");
    }
    let help = String::from_utf8(tidemill(&["checkpoints", "-h"]).stdout).expect("text");
    let actions = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let actions = actions.filter_map(|line| line.split_whitespace().next()).filter(|action| *action != "help");
    assert_eq!(actions.collect::<Vec<_>>(), ["list", "show", "verify", "prune"], "an action is not on the page");
}
