//! The job on machines, which sends its predictions in batches and its alerts one by one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use testkit::{example, finish, lines};

use crate::server::{Reply, Request, Server};

/// So many that a job does not read them all before the fourth epoch ends.
const MACHINES: &str = "3000";
const SECONDS: &str = "100";

/// The lines of each path, sorted.
pub type Lines = BTreeMap<&'static str, Vec<String>>;

fn simulated() -> Command {
    let mut command = example("iot_window");
    command.args(["--machines", MACHINES, "--seconds", SECONDS, "--threshold", "0"]);
    command
}

/// Returns what a run without a server and without faults writes.
pub fn expected(scratch: &Path) -> Lines {
    let [predictions, alerts] = ["predictions", "alerts"].map(|name| scratch.join(format!("expected-{name}")));
    finish(simulated().arg("--predictions").arg(&predictions).arg("--alerts").arg(&alerts));
    let expected = Lines::from([("predictions", lines(&predictions)), ("alerts", lines(&alerts))]);
    assert!(expected.values().all(|lines| lines.len() > 100), "{:?}", expected.values().map(Vec::len));
    expected.into_iter().map(|(path, lines)| (path, sorted(lines))).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

/// Returns the command of the job, with short epochs.
pub fn job(server: &Server, checkpoints: &Path, workers: usize) -> Command {
    let mut command = simulated();
    command.args(["--workers", &workers.to_string(), "--checkpoint-interval", "50ms"]);
    let predictions = format!("webhook+{}#format=lines&max-records=40", server.url("/predictions"));
    let dead = checkpoints.with_extension("dead");
    let alerts = format!("webhook+{}#dead-letters={}&max-refused=100000", server.url("/alerts"), dead.display());
    command.args(["--predictions", &predictions, "--alerts", &alerts]);
    command.arg("--checkpoint-dir").arg(checkpoints);
    command
}

/// Refuses one alert in five, always the same ones.
pub fn refuses(request: &Request) -> bool {
    request.line == "POST /alerts" && request.body.bytes().map(u32::from).sum::<u32>() % 5 == 0
}

/// Starts a server that takes all but some alerts.
pub fn server() -> Server {
    Server::start(|request| Reply::Status(if refuses(request) { 422 } else { 200 }))
}

/// Checks that each line is under one key, in however many requests with one body; and that what was refused is a dead letter.
/// Returns how many requests came again.
pub fn each_under_one_key(server: &Server, expected: &Lines, dead: &Path, when: &str) -> usize {
    let requests = server.requests();
    let mut bodies: BTreeMap<(String, String), &Request> = BTreeMap::new();
    for request in &requests {
        let path = request.line.trim_start_matches("POST /").to_owned();
        let known = bodies.entry((path, request.key().to_owned())).or_insert(request);
        assert_eq!(known.body, request.body, "{when}: two bodies under one key");
    }
    for (path, expected) in expected {
        let of_path = bodies.iter().filter(|((at, _), _)| at == path).flat_map(|(_, request)| request.body.lines());
        let found = sorted(of_path.map(str::to_owned).collect());
        assert_eq!(found.len(), expected.len(), "{when}: /{path} lacks records, or has some under two keys");
        assert!(found == *expected, "{when}: other records at /{path}");
    }
    let refused: Vec<&str> = bodies.values().filter(|request| refuses(request)).map(|request| request.key()).collect();
    let mut letters: Vec<String> =
        crate::letters::letters(dead).iter().map(|letter| letter["key"].as_str().unwrap().to_owned()).collect();
    letters.sort_unstable();
    letters.dedup();
    assert!(refused.len() > 10, "{when}: {}", refused.len());
    let mut refused: Vec<String> = refused.into_iter().map(str::to_owned).collect();
    refused.sort_unstable();
    assert!(letters == refused, "{when}: {} dead letters, {} were refused", letters.len(), refused.len());
    requests.len() - bodies.len()
}
