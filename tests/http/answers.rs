//! The answers of the API, of a real job.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::client::get;
use super::job;

fn names(of: &Json) -> BTreeSet<&str> {
    of.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn the_graph_has_the_operators_of_the_job_in_the_order_of_its_streams() {
    let job = job::start();
    let graph = get(job.address, "/api/v1/graph").json();
    let nodes = graph["nodes"].as_array().unwrap();
    let found = names(&graph["nodes"]);
    let expected = BTreeSet::from(["numbers", "filter 1", "tens", "map 2", "counts", "refused"]);
    assert_eq!(found, expected, "{graph}");
    let named = |id: &Json| nodes[id.as_u64().unwrap() as usize]["name"].as_str().unwrap();
    let edges = graph["edges"].as_array().unwrap();
    let streams = |dead: bool| -> BTreeSet<(&str, &str, bool)> {
        let of_kind = edges.iter().filter(|edge| edge["dead_letters"] == dead);
        of_kind.map(|edge| (named(&edge["from"]), named(&edge["to"]), edge["exchange"].as_bool().unwrap())).collect()
    };
    let expected = BTreeSet::from([
        ("numbers", "tens", true),
        ("numbers", "filter 1", false),
        ("filter 1", "tens", true),
        ("tens", "map 2", false),
        ("map 2", "counts", false),
    ]);
    assert_eq!(streams(false), expected);
    assert_eq!(streams(true), BTreeSet::from([("numbers", "refused", false), ("tens", "refused", false)]));
    for edge in edges {
        let column = |end: &str| nodes[edge[end].as_u64().unwrap() as usize]["column"].as_u64();
        assert!(column("from") < column("to"), "{edge}");
    }
}

#[test]
fn the_job_says_how_it_is() {
    let job = job::start();
    let answer = job.wait_until("/api/v1/job", |job| job["dead_letters"] == 1 && job["committed_epoch"].is_u64());
    assert_eq!(
        (&answer["job"], &answer["state"], &answer["workers"]),
        (&"numbers".into(), &"running".into(), &2.into())
    );
    assert!(answer["failure"].is_null() && answer["cause"].is_null(), "{answer}");
    assert_eq!(answer["settings"]["checkpoint_interval"], "50ms");
    assert!(answer["last_commit_ms"].as_i64() >= answer["started_ms"].as_i64(), "{answer}");
}

#[test]
fn operators_have_their_counts_and_their_rates() {
    let job = job::start();
    let wanted = |operators: &Json| {
        let operators = operators["operators"].as_array().unwrap();
        let counts = operators.iter().find(|operator| operator["name"] == "counts");
        counts.is_some_and(|counts| counts["records_in"].as_u64() > Some(0) && counts["busy"].is_number())
    };
    let answer = job.wait_until("/api/v1/operators", wanted);
    let numbers = &answer["operators"][0];
    assert_eq!(
        (&numbers["name"], &numbers["records_in"], &numbers["dead_letters"]),
        (&"numbers".into(), &2000.into(), &1.into())
    );
    let workers: Vec<_> = numbers["per_worker"].as_array().unwrap().iter().map(|own| own["worker"].clone()).collect();
    assert_eq!(workers, [0, 1]);
    assert!(numbers["watermark_ms"].is_i64() && numbers["watermark_gap_seconds"].is_f64(), "{numbers}");
}

#[test]
fn checkpoints_have_their_parts_newest_first() {
    let job = job::start();
    let whole = |checkpoints: &Json| {
        let committed = checkpoints["checkpoints"].as_array().unwrap().iter().find(|one| one["result"] == "committed");
        committed.is_some_and(|one| {
            let phases = one["phases"].as_array().unwrap();
            phases.len() == 2 && phases[0]["manifest_seconds"].is_f64() && phases[1]["write_seconds"].is_f64()
        })
    };
    let answer = job.wait_until("/api/v1/checkpoints", whole);
    let epochs: Vec<u64> =
        answer["checkpoints"].as_array().unwrap().iter().map(|one| one["epoch"].as_u64().unwrap()).collect();
    assert!(epochs.is_sorted_by(|newer, older| newer > older), "{epochs:?}");
}

#[test]
fn the_history_goes_on_where_the_last_answer_ended() {
    let job = job::start();
    let history = job.wait_until("/api/v1/history", |history| history["rows"].as_array().unwrap().len() >= 2);
    assert_eq!(history["columns"][0], "time_ms");
    let times: Vec<f64> = history["rows"].as_array().unwrap().iter().map(|row| row[0].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let rest = get(job.address, &format!("/api/v1/history?since={}", times[0])).json();
    assert!(rest["rows"].as_array().unwrap().iter().all(|row| row[0].as_f64().unwrap() > times[0]), "{rest}");
}

#[test]
fn a_program_with_a_log_of_its_own_is_told_why_there_are_no_lines() {
    let job = job::start();
    let logs = get(job.address, "/api/v1/logs").json();
    assert_eq!(logs["lines"], serde_json::json!([]));
    assert!(logs["reason"].as_str().unwrap().contains("log of its own"), "{logs}");
    assert_eq!(get(job.address, "/api/v1/inference").json(), serde_json::json!({ "models": [] }));
}
