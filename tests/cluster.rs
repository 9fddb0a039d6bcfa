//! Jobs of several processes on one machine give the same answers as one process, also when one of the processes
//! dies.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;
use testkit::{example, finish, free_addresses, is_error, lines, same_lines};
use tests::control::{check_predictions, control_file, newest_log, three_versions};

const COUNT: &str = "400000";

/// Returns addresses for two processes.
fn hosts() -> String {
    free_addresses::<2>().expect("free ports").map(|address| address.to_string()).join(",")
}

fn job(to: &Path) -> Command {
    let mut command = example("fraud_velocity");
    command.args(["--count", COUNT, "--checkpoint-interval", "100ms", "--predictions"]).arg(to.join("predictions"));
    command.arg("--checkpoint-dir").arg(to.join("checkpoints"));
    command
}

fn start_two(to: &Path, more: impl Fn(usize, &mut Command)) -> [Child; 2] {
    let hosts = hosts();
    [0, 1].map(|process| {
        let mut command = job(to);
        command.args(["--hosts", &hosts, "--process", &process.to_string()]);
        more(process, &mut command);
        command.spawn().expect("the program starts")
    })
}

/// Makes a job last for some seconds on any machine, so that it can be killed before its end.
fn slowly(_: usize, command: &mut Command) {
    command.args(["--rate", "80000"]);
}

/// Waits for a process that must fail, and returns its messages.
fn failed(child: Child) -> String {
    let output = child.wait_with_output().expect("a child ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(is_error(output.status), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

#[expect(clippy::disallowed_methods, reason = "the moment of the kill is real time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn two_processes_give_what_one_gives_whichever_dies() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    finish(&mut job(&one));
    // Each process is killed once, including the leader.
    for victim in [1, 0] {
        let mut processes = start_two(&two, slowly);
        wait(Duration::from_millis(1500));
        processes[victim].kill().expect("a child can be killed");
        let [first, second] = processes;
        let (mut dead, left) = if victim == 0 { (first, second) } else { (second, first) };
        dead.wait().expect("a child ends");
        let errors = failed(left);
        assert!(errors.contains("the connection to another process of the job was lost"), "{errors}");
        assert!(errors.contains("start all processes again"), "{errors}");
    }
    for process in start_two(&two, |_, _| ()) {
        let output = process.wait_with_output().expect("a child ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    same_lines(&one.join("predictions"), &two.join("predictions"));
}

#[test]
fn what_two_processes_began_one_can_finish() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    finish(&mut job(&one));
    let mut processes = start_two(&two, slowly);
    wait(Duration::from_millis(1500));
    for process in &mut processes {
        process.kill().expect("a child can be killed");
        process.wait().expect("a child ends");
    }
    finish(job(&two).args(["--workers", "3"]));
    same_lines(&one.join("predictions"), &two.join("predictions"));
}

#[test]
fn models_change_in_both_processes_with_the_same_epoch() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (models, control) = (scratch.path().join("models"), scratch.path().join("control.jsonl"));
    three_versions(&models);
    // What only one of the processes has is refused.
    let half = scratch.path().join("half");
    three_versions(&half);
    fs::remove_file(half.join("fraud_velocity/3/model.onnx")).expect("a file that can be removed");
    control_file(
        &control,
        &[
            json!({ "switch": { "model": "fraud_velocity/3" } }),
            json!({ "canary": { "model": "fraud_velocity/2", "share": 0.3 } }),
            json!({ "rollout": { "model": "fraud_velocity/2", "settings": {
            "shadow_records": 100, "steps": [0.4], "interval": "1s", "min_records": 10, "checks": { "score_psi": null },
        } } }),
        ],
    );
    let processes = start_two(scratch.path(), |process, command| {
        let models = if process == 0 { &models } else { &half };
        command.args(["--rate", "100000", "--use-model", "fraud_velocity/1", "--models"]).arg(models);
        command.arg("--control").arg(&control);
    });
    let mut errors = String::new();
    for process in processes {
        let output = process.wait_with_output().expect("a child ends");
        errors.push_str(&String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
    }
    let log = newest_log(&scratch.path().join("checkpoints"));
    let [first, _, second, third] = check_predictions(&scratch.path().join("predictions"), &log, 1, 400_000);
    assert!(first > 0 && second > 0 && third == 0, "{first}, {second}, {third}: {log:?}");
    assert!(log.iter().any(|entry| entry.reason.contains("is promoted")), "{log:?}");
    assert!(errors.contains("process 1: cannot read the model"), "{errors}");
}

#[test]
fn a_process_that_fails_informs_the_others() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let input = scratch.path().join("bad.csv");
    finish(example("fraud_velocity").args(["--count", "100000", "--write-input"]).arg(&input));
    let text = std::fs::read_to_string(&input).expect("what was just written");
    let line = text.lines().nth(60_000).expect("a line");
    std::fs::write(&input, text.replace(line, "no transaction")).expect("room");

    let processes = start_two(scratch.path(), |_, command| {
        command.args(["--max-malformed", "0", "--input"]).arg(&input);
    });
    let errors = processes.map(failed);
    assert!(errors.iter().all(|text| text.contains("bad.csv:60001: 1 fields")), "{errors:?}");
    assert!(errors.iter().any(|text| text.contains("of the job failed: ")), "{errors:?}");
}

#[test]
fn a_process_that_cannot_start_does_not_leave_the_others_waiting() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let processes = start_two(scratch.path(), |process, command| {
        if process == 1 {
            command.args(["--input", "/nowhere/transactions.csv"]);
        }
    });
    let [first, second] = processes.map(failed);
    assert!(first.contains("the connection to another process"), "{first}");
    assert!(second.contains("cannot read \"/nowhere/transactions.csv\""), "{second}");
}

/// Connects to an address as soon as a process listens there.
fn knock(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(_) => wait(Duration::from_millis(20)),
        }
    }
}

#[test]
fn strangers_do_not_keep_the_processes_from_each_other() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    finish(&mut job(&one));
    let hosts = hosts();
    let address = hosts.split(',').next().expect("a host");
    let start = |process: usize| {
        let mut command = job(&two);
        command.args(["--hosts", &hosts, "--process", &process.to_string()]);
        command.spawn().expect("the program starts")
    };
    let first = start(0);
    // The strangers are a port scan, garbage, a health probe, what timely would take for processes 9 and 1, and an
    // incomplete greeting.
    let mut open = vec![knock(address)];
    open.clear();
    let (nine, peer) = (9_u64.to_be_bytes(), 1_u64.to_be_bytes());
    let words: [&[u8]; 5] = [b"\x16\x03\x01\x02", b"GET /healthz HTTP/1.1\r\n\r\n", &nine, &peer, b"TDML\0\x01\0\0"];
    for word in words {
        let mut stranger = knock(address);
        stranger.write_all(word).expect("somebody who listens");
        open.push(stranger);
    }
    // Many more connect and send nothing.
    open.extend((0..100).map(|_| knock(address)));
    for process in [start(1), first] {
        let output = process.wait_with_output().expect("a child ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("awaiting"), "timely talks on stdout");
    }
    drop(open);
    same_lines(&one.join("predictions"), &two.join("predictions"));
}

#[test]
fn processes_with_different_checkpoint_directories_do_not_start() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let elsewhere = scratch.path().join("elsewhere");
    let processes = start_two(scratch.path(), |process, command| {
        if process == 1 {
            command.args(["--restore", "auto"]);
            replace_directory(command, &elsewhere);
        }
    });
    for errors in processes.map(failed) {
        assert!(errors.contains("need the same checkpoint directory"), "{errors}");
        assert!(errors.contains("elsewhere/manifests") && errors.contains("SHA-256"), "{errors}");
    }
}

/// Replaces the value of `--checkpoint-dir`, because clap refuses a flag that is given twice.
fn replace_directory(command: &mut Command, to: &Path) {
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut changed = Command::new(command.get_program());
    let mut is_next = false;
    for arg in args {
        changed.arg(if is_next { to.as_os_str() } else { &arg });
        is_next = arg == "--checkpoint-dir";
    }
    changed.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    *command = changed;
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.expect("kill").success());
}

/// Returns the command of a job that scores `count` transactions at a constant rate and writes to this folder.
fn steady(to: &Path, count: u64) -> Command {
    let mut command = example("fraud_velocity");
    command.args(["--rate", "20000", "--count", &count.to_string(), "--checkpoint-interval", "100ms"]);
    command.arg("--predictions").arg(to.join("predictions")).arg("--checkpoint-dir").arg(to.join("checkpoints"));
    command
}

const FOR_EVER: u64 = 1_000_000_000;

fn each_once(to: &Path, count: u64) {
    let id = |line: &String| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["tx_id"].as_u64();
    let mut ids: Vec<u64> = lines(&to.join("predictions")).iter().map(|line| id(line).expect("a tx_id")).collect();
    ids.sort_unstable();
    assert!(ids == (0..count).collect::<Vec<_>>(), "{} predictions of {count}", ids.len());
}

/// Waits until the process has stopped itself (`TIDEMILL_STOP_AT`).
fn stands_still(child: &mut Child) {
    while !fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default().contains(" T ") {
        assert!(child.try_wait().expect("a child's state").is_none(), "it never came to the place");
        wait(Duration::from_millis(20));
    }
}

/// A job is suspended right before a commit, as in a virtual machine that is paused, and resumes after it was started
/// again elsewhere, before the new one's first commit, which is of epoch 4: the old one stops, and the new one continues.
#[test]
fn a_job_that_wakes_up_before_the_first_commit_of_its_successor_stops() {
    wakes_up("before-manifest:3");
}

/// The new one has removed what the old one wrote and is about to make durable.
#[test]
fn a_job_whose_hidden_files_its_successor_removed_says_that_there_is_one() {
    wakes_up("before-flush:3");
}

fn wakes_up(place: &str) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let stops_at = |place: &str, count: u64| {
        let mut command = steady(scratch.path(), count);
        let mut child = command.env("TIDEMILL_STOP_AT", place).spawn().expect("the program starts");
        stands_still(&mut child);
        child
    };
    let old = stops_at(place, FOR_EVER);
    let new = stops_at("before-manifest:4", 60_000);
    signal(&old, "CONT");
    let errors = failed(old);
    signal(&new, "CONT");
    let output = new.wait_with_output().expect("a child ends");
    assert!(output.status.success(), "the new one lost: {}", String::from_utf8_lossy(&output.stderr));
    assert!(errors.contains("another run of this job, started at "), "{errors}");
    each_once(scratch.path(), 60_000);
}

#[test]
fn of_two_runs_over_one_directory_the_first_says_that_there_is_a_second() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let first = steady(scratch.path(), FOR_EVER).spawn().expect("the program starts");
    while fs::read_dir(scratch.path().join("predictions")).map_or(0, Iterator::count) < 3 {
        wait(Duration::from_millis(20));
    }
    let count = 400_000;
    finish(&mut job(scratch.path()));
    let errors = failed(first);
    // It finds the claim of the other run, or what that has committed since.
    let found = ["started at ", "which committed this epoch at "].map(|how| format!("another run of this job, {how}"));
    assert!(found.iter().any(|found| errors.contains(found)) && errors.contains("stop one of them"), "{errors}");
    each_once(scratch.path(), count);
}
