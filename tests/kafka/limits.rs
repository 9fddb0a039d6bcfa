//! Settings that cannot work are refused at the start, with their numbers in the message. Messages that cannot be
//! used become dead letters.

use std::process::Command;

use crate::cluster::{alone, cluster};
use crate::job::{dies_at, job, transactions};
use testkit::{example, fail, finish};

fn simulated(output: &str) -> Command {
    let mut command = example("fraud_velocity");
    command.args(["--count", "1000", "--predictions", output]);
    command
}

#[test]
fn timeouts_that_cannot_work_are_refused_with_both_numbers() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let (scratch, output) = (tempfile::tempdir().unwrap(), cluster.topic("predictions", 1));
    let with = |options: &str, more: &[&str]| {
        let mut command = simulated(&output.url_with(options));
        fail(command.arg("--checkpoint-dir").arg(scratch.path()).args(more))
    };
    let errors = with("transaction-timeout=20m", &[]);
    assert!(errors.contains("1200000 ms") && errors.contains("transaction.max.timeout.ms of 900000 ms"), "{errors}");
    let errors = with("transaction-timeout=5s", &["--checkpoint-interval", "3s"]);
    assert!(errors.contains("interval of 3000 ms") && errors.contains("after 5000 ms"), "{errors}");
    let errors = fail(&mut simulated(&output.url()));
    assert!(errors.contains("exactly once needs checkpoints"), "{errors}");
    assert!(output.uncommitted().is_empty(), "nothing was written");
}

#[test]
fn what_is_not_there_is_named() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let url = |topic: &str| format!("kafka://{}/{topic}", cluster.address);
    let errors = fail(simulated(&url("nowhere")).arg("--checkpoint-dir").arg(scratch.path()));
    assert!(errors.contains("there is no topic \"nowhere\" to write to"), "{errors}");
    let errors = fail(example("fraud_velocity").args(["--input", &url("nowhere"), "--until-end"]));
    assert!(errors.contains("there is no topic \"nowhere\""), "{errors}");
    let errors = fail(example("fraud_velocity").args(["--input", &format!("{}?strat=latest", url("nowhere"))]));
    assert!(errors.contains("no option is called \"strat\""), "{errors}");
    let output = example("fraud_velocity").args(["--input", "kafka://127.0.0.1/"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("names no topic"));
}

#[test]
fn a_record_too_large_for_the_topic_stops_the_job_and_says_so() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = cluster.topic_with("predictions", 1, &[("max.message.bytes", "400")]);
    for delivery in ["exactly-once", "at-least-once"] {
        let mut command = simulated(&output.url_with(&format!("delivery={delivery}")));
        let errors = fail(command.arg("--checkpoint-dir").arg(scratch.path().join(delivery)));
        assert!(errors.contains("too large for topic") && errors.contains("which takes 300"), "{errors}");
    }
    assert!(output.committed().is_empty());
}

#[test]
fn poison_goes_to_a_topic_with_its_origin() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, dead) = (transactions(&cluster, 1000, 2), cluster.topic("dead", 1));
    input.produce([(1, "k".to_owned(), "{oops".to_owned())]);
    let bad_offset = input.committed().iter().filter(|seen| seen.partition == 1).count() - 1;
    let mut command = example("fraud_velocity");
    command.args(["--input", &input.url(), "--until-end", "--dead-letters", &dead.url(), "--checkpoint-dir"]);
    finish(command.arg(scratch.path()));
    // There are two, because the transactions and their charge-backs are both read from this topic.
    let letters = dead.committed();
    assert_eq!(letters.len(), 2, "{letters:?}");
    for letter in letters {
        assert_eq!(letter.payload, "{oops");
        assert_eq!(letter.headers["topic"], input.name);
        assert_eq!(letter.headers["partition"], "1");
        assert_eq!(letter.headers["offset"], bad_offset.to_string());
        assert!(letter.headers["reason"].contains("key must be a string"), "{letter:?}");
    }
}

#[test]
fn what_is_published_is_not_published_again_by_a_run_that_starts_anew() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (transactions(&cluster, 2000, 2), cluster.topic("predictions", 1));
    finish(&mut job(&input, &output.url(), &scratch.path().join("first"), 2));
    let errors = fail(&mut job(&input, &output.url(), &scratch.path().join("second"), 2));
    assert!(errors.contains("published output is not removed"), "{errors}");
    let errors = fail(&mut job(&cluster.topic("other", 1), &output.url(), &scratch.path().join("first"), 2));
    assert!(errors.contains("name the same topics"), "{errors}");
    assert_eq!(output.committed().len(), 2000);
}

#[test]
fn records_that_retention_took_unread_are_an_error() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    // So many that not all are read by the third epoch.
    let (input, output) = (transactions(&cluster, 200_000, 1), cluster.topic("predictions", 1));
    dies_at(&mut job(&input, &output.url(), scratch.path(), 1), "after-publish:3");
    input.delete_before(0, 199_999);
    let errors = fail(&mut job(&input, &output.url(), scratch.path(), 1));
    assert!(
        errors.contains("deleted by retention, unread") && errors.contains("/0 is to be read from offset"),
        "{errors}"
    );
}

#[test]
fn at_least_once_is_complete() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (transactions(&cluster, 40_000, 2), cluster.topic("predictions", 2));
    let url = output.url_with("delivery=at-least-once");
    dies_at(&mut job(&input, &url, scratch.path(), 2), "after-delta:3");
    finish(&mut job(&input, &url, scratch.path(), 2));
    let seen: std::collections::BTreeSet<u64> =
        output.committed().iter().map(|message| message.json()["tx_id"].as_u64().unwrap()).collect();
    assert_eq!(seen.len(), 40_000);
}
