//! The job on machines, which appends its predictions to a stream and keeps the last one of each machine in a hash.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use redis::Value;
use testkit::redis::Redis;
use testkit::{example, finish, lines};

use crate::server::{connection, query};

/// So many that a job does not read them all before the fourth epoch ends.
const MACHINES: &str = "3000";
const SECONDS: &str = "100";

/// The score and the number of readings of each machine's window.
pub type Windows = BTreeMap<(String, i64), (f32, i64)>;

fn simulated() -> Command {
    let mut command = example("iot_window");
    command.args(["--machines", MACHINES, "--seconds", SECONDS]);
    command
}

/// Returns what a run without Redis and without faults predicts.
pub fn expected(scratch: &Path) -> Windows {
    let folder = scratch.join("expected");
    finish(simulated().arg("--predictions").arg(&folder));
    let window = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = (line["machine_id"].as_str().unwrap().to_owned(), line["window_start"].as_i64().unwrap());
        (key, (line["score"].as_f64().unwrap() as f32, line["count"].as_i64().unwrap()))
    };
    lines(&folder).iter().map(window).collect()
}

/// Removes all keys, and with them the markers.
pub fn empty(server: &Redis) {
    query::<()>(server, "FLUSHALL");
}

/// Returns the command of the job, with short epochs. Batches are so small that each epoch has several.
pub fn job(server: &Redis, checkpoints: &Path, workers: usize) -> Command {
    let mut command = simulated();
    command.args(["--workers", &workers.to_string(), "--checkpoint-interval", "50ms"]);
    let stream = format!("{}?key=predictions&command=xadd&batch-bytes=20000", server.url());
    // Every window is below this threshold.
    let latest = format!("{}?key=machine:{{machine_id}}&command=hset&ttl=1h&batch-bytes=20000", server.url());
    command.args(["--predictions", &stream, "--threshold", "1000", "--alerts", &latest]);
    command.arg("--checkpoint-dir").arg(checkpoints);
    command
}

/// Checks that each window is in the stream once, and that each hash has the last window of its machine.
pub fn exactly_once(server: &Redis, expected: &Windows, when: &str) {
    let entries: Vec<(String, HashMap<String, String>)> = query(server, "XRANGE predictions - +");
    let window = |(_, entry): &(String, HashMap<String, String>)| {
        let key = (entry["machine_id"].clone(), entry["window_start"].parse().unwrap());
        (key, (entry["score"].parse().unwrap(), entry["count"].parse().unwrap()))
    };
    let found: Windows = entries.iter().map(window).collect();
    assert_eq!(entries.len(), found.len(), "{when}: windows are there twice");
    assert_eq!(found.len(), expected.len(), "{when}: windows are missing");
    assert!(found == *expected, "{when}: another score");
    let latest: BTreeMap<&String, i64> = expected.keys().map(|(machine, start)| (machine, *start)).collect();
    let mut pipeline = redis::pipe();
    for machine in latest.keys() {
        pipeline.cmd("HGET").arg(format!("machine:{machine}")).arg("window_start");
        pipeline.cmd("TTL").arg(format!("machine:{machine}"));
    }
    let answers: Vec<(Option<i64>, i64)> = pairs(pipeline.query(&mut connection(server)).unwrap());
    for ((machine, start), (found, ttl)) in latest.iter().zip(answers) {
        assert_eq!(found, Some(*start), "{when}: the last window of {machine}");
        assert!((1..=3600).contains(&ttl), "{when}: {machine} expires in {ttl} s");
    }
}

fn pairs(values: Vec<Value>) -> Vec<(Option<i64>, i64)> {
    let number = |value: &Value| redis::from_redis_value::<Option<i64>>(value.clone()).unwrap();
    values.chunks(2).map(|pair| (number(&pair[0]), number(&pair[1]).unwrap())).collect()
}
