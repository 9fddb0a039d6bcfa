//! The job is killed with SIGKILL, at every named place.

use std::time::Duration;

use testkit::{finish, some};

use crate::job::{each_under_one_key, expected, job, server};
use crate::server::Reply;
use tests::crashes::{dies_at, errors, go_on, stands_still, wait};
use tests::until;

/// Places in the order in which an epoch passes them.
const PLACES: [&str; 11] = [
    "mid-epoch:3",
    "after-delta:3",
    "before-manifest:3",
    "after-manifest:3",
    "before-request:3:0",
    "before-request:3:1",
    "after-answer:3:0",
    "after-answer:3:1",
    "after-dead-letter:3:0",
    "after-dead-letter:3:1",
    "after-publish:3",
];

#[test]
fn a_crash_at_any_place_leaves_each_record_under_one_key() {
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    for place in some(PLACES, 5) {
        let (server, checkpoints) = (server(), scratch.path().join(place.replace(':', "-")));
        dies_at(&mut job(&server, &checkpoints, 2), place);
        // Another number of workers sends what the crash left.
        finish(&mut job(&server, &checkpoints, 1 + place.len() % 3));
        let again = each_under_one_key(&server, &expected, &checkpoints.with_extension("dead"), place);
        // What was answered, and is not known to be, is sent again.
        assert!(again > 0 || !place.starts_with("after-answer"), "{place}");
    }
}

/// The start that recovers from a crash is itself killed, while it sends what was staged and after it.
#[test]
fn a_crash_while_it_recovers_leaves_each_record_under_one_key() {
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    for place in some(["before-request:0", "after-answer:0", "after-dead-letter:0", "republished:0"], 2) {
        let (server, checkpoints) = (server(), scratch.path().join(place.replace(':', "-")));
        dies_at(&mut job(&server, &checkpoints, 2), "after-manifest:3");
        dies_at(&mut job(&server, &checkpoints, 3), place);
        dies_at(&mut job(&server, &checkpoints, 1), "after-answer:0");
        finish(&mut job(&server, &checkpoints, 2));
        each_under_one_key(&server, &expected, &checkpoints.with_extension("dead"), place);
    }
}

/// The server is away while the job is stopped at a place in an epoch, and comes back after the job has continued.
#[test]
fn a_server_that_leaves_at_any_place_has_each_record_under_one_key() {
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    for place in some(["before-request:3", "after-answer:3", "after-manifest:3"], 2) {
        let (server, checkpoints) = (server(), scratch.path().join(place.replace(':', "-")));
        let mut child = job(&server, &checkpoints, 2).env("TIDEMILL_STOP_AT", place).spawn().unwrap();
        until("it comes to the place", || stands_still(&mut child) != Some(false));
        assert_eq!(stands_still(&mut child), Some(true), "it never came to {place}");
        server.leave();
        go_on(&child);
        // This is long enough for requests to fail.
        wait(Duration::from_secs(1));
        server.come_back();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{place}: {}", errors(&ended));
        each_under_one_key(&server, &expected, &checkpoints.with_extension("dead"), place);
    }
}

/// While no request is answered, epochs go on to be committed; what they staged is sent by the next run, of many epochs.
#[test]
fn what_many_epochs_staged_is_sent_by_the_next_run() {
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(scratch.path());
    let (server, checkpoints) = (server(), scratch.path().join("checkpoints"));
    server.answer(|_| Reply::Nothing);
    dies_at(&mut job(&server, &checkpoints, 2), "after-manifest:6");
    let unanswered = server.requests();
    assert!((1..=8).contains(&unanswered.len()), "{}", unanswered.len());
    server.answer(|request| Reply::Status(if crate::job::refuses(request) { 422 } else { 200 }));
    finish(&mut job(&server, &checkpoints, 3));
    let again = each_under_one_key(&server, &expected, &checkpoints.with_extension("dead"), "after six epochs");
    assert!(again >= unanswered.len(), "{again}");
}
