//! Jobs that are paused as a suspended machine is: transactions that time out, and a paused job that continues after
//! another one has taken over.

use crate::cluster::{alone, cluster};
use crate::job::{errors, exactly_once_and_in_order, expected, job, live_job, signal, transactions, wait};
use testkit::finish;
use tests::until;

const COUNT: usize = 200_000;

#[test]
fn a_transaction_that_timed_out_is_published_from_memory() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, expected) = (transactions(&cluster, COUNT, 4), expected(COUNT, scratch.path()));
    // In most attempts, but not in all, the job is stopped while a transaction is open.
    for attempt in 0..5 {
        let output = cluster.topic("predictions", 3);
        let url = output.url_with("transaction-timeout=1s");
        let child = job(&input, &url, &scratch.path().join(attempt.to_string()), 2).spawn().unwrap();
        until("it writes", || !output.uncommitted().is_empty());
        signal(&child, "STOP");
        wait(std::time::Duration::from_secs(4));
        signal(&child, "CONT");
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", errors(&ended));
        exactly_once_and_in_order(&output.committed(), &expected, "a transaction timed out");
        if errors(&ended).contains("transaction is begun again") {
            return;
        }
    }
    panic!("no transaction timed out: the job is too fast for this test");
}

#[test]
fn a_zombie_that_wakes_up_stops_and_takes_nothing_with_it() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, expected) = (transactions(&cluster, COUNT, 4), expected(COUNT, scratch.path()));
    let output = cluster.topic("predictions", 3);
    let checkpoints = scratch.path().join("checkpoints");
    let zombie = live_job(&input.url(), &output.url(), &checkpoints, 2).spawn().unwrap();
    until("it writes", || !output.uncommitted().is_empty());
    signal(&zombie, "STOP");
    finish(&mut job(&input, &output.url(), &checkpoints, 2));
    signal(&zombie, "CONT");
    let ended = zombie.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(5), "fenced: {}", errors(&ended));
    assert!(!errors(&ended).contains("panicked"), "{}", errors(&ended));
    exactly_once_and_in_order(&output.committed(), &expected, "a zombie woke up");
}
