//! Several processes on one machine: the same answers as one, and what happens when one of them dies.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use common::{example, finish, same_lines};

const COUNT: &str = "400000";

/// Two processes' addresses, free a moment ago.
fn hosts() -> String {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").to_string()).join(",")
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

/// What a process that had to fail said.
fn failed(child: Child) -> String {
    let output = child.wait_with_output().expect("a child ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
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
    // Each once, the leader too.
    for victim in [1, 0] {
        let mut processes = start_two(&two, |_, _| ());
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
    let mut processes = start_two(&two, |_, _| ());
    wait(Duration::from_millis(1500));
    for process in &mut processes {
        process.kill().expect("a child can be killed");
        process.wait().expect("a child ends");
    }
    finish(job(&two).args(["--workers", "3"]));
    same_lines(&one.join("predictions"), &two.join("predictions"));
}

#[test]
fn a_process_that_fails_tells_the_others_why() {
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
