//! The job or the server is killed with SIGKILL, at every named place.

use std::io::Read;
use std::time::Duration;

use testkit::{Killed, finish, some};

use crate::job::{empty, exactly_once, expected, job};
use crate::server::server;
use tests::crashes::{dies_at, errors, go_on, stands_still, wait};
use tests::until;

/// Places in the order in which an epoch passes them. At `after-batch:3:0` worker 0 has published a part of epoch 3, and the
/// other one may not have published any.
const PLACES: [&str; 10] = [
    "mid-epoch:3",
    "after-delta:3",
    "before-manifest:3",
    "after-manifest:3",
    "before-marker:3",
    "after-batch:3:0",
    "after-batch:3:1",
    "after-commit:3:0",
    "after-commit:3:1",
    "after-publish:3",
];

#[test]
fn a_crash_at_any_place_leaves_each_entry_once() {
    let Some(running) = server() else { return };
    let (server, scratch) = (&running.server, running.scratch.path());
    let expected = expected(scratch);
    for place in some(PLACES, 5) {
        empty(server);
        let checkpoints = scratch.join(place);
        dies_at(&mut job(server, &checkpoints, 2), place);
        // Another number of workers completes what the crash left unfinished.
        finish(&mut job(server, &checkpoints, 1 + place.len() % 3));
        exactly_once(server, &expected, place);
    }
}

/// The start that recovers from a crash is itself killed, before, while and after it has published rows.
#[test]
fn a_crash_while_it_recovers_leaves_each_entry_once() {
    let Some(running) = server() else { return };
    let (server, scratch) = (&running.server, running.scratch.path());
    let expected = expected(scratch);
    for place in some(["taken-over:0", "taken-over:0:1", "after-batch:0", "republished:0"], 2) {
        empty(server);
        let checkpoints = scratch.join(place);
        dies_at(&mut job(server, &checkpoints, 2), "after-manifest:3");
        dies_at(&mut job(server, &checkpoints, 2), place);
        dies_at(&mut job(server, &checkpoints, 3), "taken-over:0");
        finish(&mut job(server, &checkpoints, 1));
        exactly_once(server, &expected, place);
    }
}

/// A run that stands still while another one takes over, and then goes on, writes nothing any more.
#[test]
fn a_run_that_was_replaced_in_the_middle_of_an_epoch_is_fenced() {
    let Some(running) = server() else { return };
    let (server, scratch) = (&running.server, running.scratch.path());
    let expected = expected(scratch);
    let checkpoints = scratch.join("checkpoints");
    let mut zombie = Killed(job(server, &checkpoints, 2).env("TIDEMILL_STOP_AT", "after-batch:3").spawn().unwrap());
    until("it comes to the place", || stands_still(&mut zombie) != Some(false));
    finish(&mut job(server, &checkpoints, 1));
    exactly_once(server, &expected, "before it goes on");
    go_on(&zombie);
    assert!(!zombie.wait().unwrap().success());
    let mut errors = String::new();
    zombie.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("was taken over by another run"), "{errors}");
    exactly_once(server, &expected, "after it has gone on");
}

/// The server is killed while the job is stopped at a place in an epoch, and recovers after the job has continued. Of a
/// script without an answer the job learns from the marker whether it was executed.
#[test]
fn a_server_that_dies_at_any_place_leaves_each_entry_once() {
    let Some(mut running) = server() else { return };
    let scratch = running.scratch.path().to_owned();
    let expected = expected(&scratch);
    for place in some(["before-marker:3", "after-batch:3", "after-commit:3", "after-manifest:3"], 3) {
        empty(&running.server);
        let checkpoints = scratch.join(place);
        let mut child = job(&running.server, &checkpoints, 2).env("TIDEMILL_STOP_AT", place).spawn().unwrap();
        until("it comes to the place", || stands_still(&mut child) != Some(false));
        assert_eq!(stands_still(&mut child), Some(true), "it never came to {place}");
        running.server.kill().unwrap();
        go_on(&child);
        // This is long enough for attempts to fail.
        wait(Duration::from_secs(1));
        running.server.resume().unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{place}: {}", errors(&ended));
        exactly_once(&running.server, &expected, place);
    }
}
