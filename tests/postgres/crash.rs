//! The job or the server is killed with SIGKILL, at every named place.

use std::io::Read;
use std::time::Duration;

use testkit::{Killed, finish, some};

use crate::job::{exactly_once, expected, job, new_tables};
use crate::server::{alone, server};
use tests::crashes::{dies_at, errors, go_on, stands_still, wait};
use tests::until;

/// Places in the order in which an epoch passes them. At `after-commit:3:0` worker 0 has published epoch 3, and the other
/// one may not have.
const PLACES: [&str; 10] = [
    "mid-epoch:3",
    "after-delta:3",
    "before-manifest:3",
    "after-manifest:3",
    "before-marker:3",
    "after-marker:3",
    "before-commit:3",
    "after-commit:3:0",
    "after-commit:3:1",
    "after-publish:3",
];

#[test]
fn a_crash_at_any_place_leaves_each_row_once() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    for place in some(PLACES, 5) {
        new_tables(&server);
        let checkpoints = scratch.path().join(place);
        dies_at(&mut job(&server, &checkpoints, 2), place);
        // Another number of workers completes what the crash left unfinished.
        finish(&mut job(&server, &checkpoints, 1 + place.len() % 3));
        exactly_once(&server, &expected, place);
    }
}

/// The start that recovers from a crash is itself killed, before and after it has published rows.
#[test]
fn a_crash_while_it_recovers_leaves_each_row_once() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    for place in some(["taken-over:0", "taken-over:0:1", "republished:0"], 2) {
        new_tables(&server);
        let checkpoints = scratch.path().join(place);
        dies_at(&mut job(&server, &checkpoints, 2), "after-manifest:3");
        dies_at(&mut job(&server, &checkpoints, 2), place);
        dies_at(&mut job(&server, &checkpoints, 3), "taken-over:0");
        finish(&mut job(&server, &checkpoints, 1));
        exactly_once(&server, &expected, place);
    }
}

/// A run that stands still while another one takes over, and then goes on, writes nothing any more.
#[test]
fn a_run_that_was_replaced_while_it_stood_still_is_fenced() {
    let _alone = alone();
    let Some(server) = server() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    new_tables(&server);
    let checkpoints = scratch.path().join("checkpoints");
    let mut zombie = Killed(job(&server, &checkpoints, 2).env("TIDEMILL_STOP_AT", "before-marker:3").spawn().unwrap());
    until("it comes to the place", || stands_still(&mut zombie) != Some(false));
    finish(&mut job(&server, &checkpoints, 1));
    exactly_once(&server, &expected, "before it goes on");
    go_on(&zombie);
    assert!(!zombie.wait().unwrap().success());
    let mut errors = String::new();
    zombie.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("another run") || errors.contains("taken over"), "{errors}");
    exactly_once(&server, &expected, "after it has gone on");
}

/// The server is killed while the job is stopped at a place in an epoch, and recovers after the job has continued. Of a
/// commit without an answer the job learns from the marker whether it was made.
#[test]
fn a_server_that_dies_at_any_place_leaves_each_row_once() {
    let _alone = alone();
    let Some(mut server) = server() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    for place in some(["before-marker:3", "after-marker:3", "before-commit:3", "after-commit:3", "after-manifest:3"], 3)
    {
        new_tables(&server);
        let checkpoints = scratch.path().join(place);
        let mut child = job(&server, &checkpoints, 2).env("TIDEMILL_STOP_AT", place).spawn().unwrap();
        until("it comes to the place", || stands_still(&mut child) != Some(false));
        assert_eq!(stands_still(&mut child), Some(true), "it never came to {place}");
        server.kill().unwrap();
        go_on(&child);
        // This is long enough for attempts to fail.
        wait(Duration::from_secs(1));
        server.resume().unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{place}: {}", errors(&ended));
        exactly_once(&server, &expected, place);
    }
}
