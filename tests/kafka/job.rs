//! The fraud job on topics: its input, its command line, and the check of its output.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::cluster::{Cluster, Seen, Topic};
use testkit::{example, finish, lines};
pub use tests::crashes::{SIGKILL, dies_at, errors, wait};

/// Creates a topic of simulated transactions.
pub fn transactions(cluster: &Cluster, count: usize, partitions: i32) -> Topic {
    let topic = cluster.topic("transactions", partitions);
    finish(example("fraud_velocity").args(["--count", &count.to_string(), "--write-input", &topic.url()]));
    topic
}

/// Returns the predictions of a run without Kafka and without faults.
pub fn expected(count: usize, scratch: &Path) -> Vec<String> {
    let folder = scratch.join("expected");
    finish(example("fraud_velocity").args(["--count", &count.to_string(), "--predictions"]).arg(&folder));
    lines(&folder)
}

/// Returns the command of a job that reads `input` to its current end, in event-time order and with short epochs.
pub fn job(input: &Topic, predictions: &str, checkpoints: &Path, workers: usize) -> Command {
    let mut command = live_job(&input.url(), predictions, checkpoints, workers);
    command.arg("--until-end");
    command
}

/// Returns the command of the same job without an end.
pub fn live_job(input: &str, predictions: &str, checkpoints: &Path, workers: usize) -> Command {
    let mut command = example("fraud_velocity");
    command.args(["--input", input, "--order", "event-time", "--checkpoint-interval", "50ms", "--report"]);
    command.args(["--workers", &workers.to_string()]);
    command.args(["--predictions", predictions, "--checkpoint-dir"]).arg(checkpoints);
    command
}

/// Stops a job with SIGTERM and returns its report.
pub fn stop(child: Child) -> Value {
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no report ({e}): {}", errors(&output)))
}

/// Returns a counter of an operator from a report.
pub fn counter(report: &Value, operator: &str, name: &str) -> u64 {
    let operators = report["operators"].as_array().unwrap();
    let found = operators.iter().find(|o| o["name"] == operator).unwrap_or_else(|| panic!("no {operator}: {report}"));
    found["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}: {found}"))
}

/// Checks that each expected prediction is there once, and in order for each card.
pub fn exactly_once_and_in_order(seen: &[Seen], expected: &[String], when: &str) {
    let mut last: BTreeMap<&str, (u64, i32)> = BTreeMap::new();
    for message in seen {
        let tx_id = message.json()["tx_id"].as_u64().unwrap();
        if let Some((before, partition)) = last.insert(&message.key, (tx_id, message.partition)) {
            assert_eq!(partition, message.partition, "{when}: card {} is in two partitions", message.key);
            assert!(before != tx_id, "{when}: transaction {tx_id} is there twice");
            assert!(before < tx_id, "{when}: card {}: {tx_id} comes after {before}", message.key);
        }
    }
    let mut found: Vec<&str> = seen.iter().map(|message| message.payload.as_str()).collect();
    found.sort_unstable();
    let difference = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    assert!(
        found.len() == expected.len() && difference.is_none(),
        "{when}: {} predictions expected, {} found; the first that differ: {difference:?}",
        expected.len(),
        found.len()
    );
}

/// Sends the signal of this name to a process.
pub fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

/// Returns the status page of a running job; `None` while it does not answer.
pub fn status(address: &str) -> Option<Value> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}
