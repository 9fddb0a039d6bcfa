//! Jobs that die or stand still at a named place, of which connectors' tests need the same.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output};
use std::time::Duration;

use testkit::Killed;

use crate::{until, until_within};

pub const SIGKILL: i32 = 9;

/// Runs a job until it kills itself at a place (`TIDEMILL_CRASH_AT`).
pub fn dies_at(command: &mut Command, place: &str) {
    let output = command.env("TIDEMILL_CRASH_AT", place).output().unwrap();
    command.env_remove("TIDEMILL_CRASH_AT");
    assert_eq!(output.status.signal(), Some(SIGKILL), "it did not come to {place}: {}", errors(&output));
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Sends a signal of this name to a process.
pub fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

/// Lets a process go on that SIGSTOP has stopped (`TIDEMILL_STOP_AT`).
pub fn go_on(child: &Child) {
    signal(child, "CONT");
}

/// Asks a job to stop, by SIGTERM, once it listens to that: one that has just been started would be killed by it.
pub fn ask_to_stop(job: &Child) {
    const TERM: u64 = 1 << 14;
    let listens = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        // One that has ended needs no signal.
        status.contains("State:\tZ")
            || caught.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & TERM != 0))
    };
    until("the job listens to SIGTERM, or has ended", listens);
    signal(job, "TERM");
}

/// Stops a job in order.
pub fn stop(job: Killed) {
    ask_to_stop(&job);
    let output = end(job);
    assert!(output.status.success(), "{}", errors(&output));
}

/// Waits until a job ends, and returns how, and what it has said.
pub fn end(mut job: Killed) -> Output {
    until_within(3, "the job ends", || job.try_wait().unwrap().is_some());
    let mut output = Output { status: job.wait().unwrap(), stdout: Vec::new(), stderr: Vec::new() };
    job.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

/// Returns whether SIGSTOP has stopped the process; `None` if it has ended.
pub fn stands_still(child: &mut Child) -> Option<bool> {
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    // A signal to one thread stops them all, and each of them says so.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    Some(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}

#[expect(clippy::disallowed_methods, reason = "processes are watched from outside")]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}
