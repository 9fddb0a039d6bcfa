//! `content_recommendation` with a model server that is slowed down, killed for a minute, and started again: the job
//! continues, and every record is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::proxy::Proxy;
use crate::setting::server;
use testkit::model_server::{Kind, MODEL};
use testkit::{example, finish, lines};

#[expect(clippy::disallowed_methods, reason = "other processes have no scheduler to report to")]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}

pub fn parsed(folder: &Path) -> Vec<Value> {
    lines(folder).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn counter(report: &Value, operator: &str, name: &str) -> u64 {
    let operators = report["operators"].as_array().unwrap();
    let found = operators.iter().find(|o| o["name"] == operator).unwrap_or_else(|| panic!("no {operator}: {report}"));
    found["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}: {found}"))
}

#[test]
fn killed_for_a_minute_and_slowed_under_load() {
    const RATE: u64 = 60;
    let Some(mut running) = server(Kind::Triton) else { return };
    let proxy = Proxy::to(&running.server.grpc);
    let folder = tempfile::tempdir().unwrap();
    let [predictions, examples, expected] = ["p", "e", "x"].map(|name| folder.path().join(name));
    // The server is available for 10 s, slow for 10 s, available for 10 s, gone for 60 s, and available for 20 s.
    let count = (110 * RATE).to_string();
    let mut command = example("content_recommendation");
    command.args(["--server", &format!("oip+grpc://{}/{MODEL}", proxy.address)]);
    command.args(["--count", &count, "--rate", &RATE.to_string(), "--print", "0", "--report"]);
    command.args(["--workers", "2", "--predictions"]).arg(&predictions).arg("--examples").arg(&examples);
    command.arg("--checkpoint-dir").arg(folder.path().join("checkpoints"));
    let child = command.spawn().unwrap();
    wait(Duration::from_secs(10));
    proxy.delay(Duration::from_secs(2));
    wait(Duration::from_secs(10));
    proxy.delay(Duration::ZERO);
    wait(Duration::from_secs(10));
    running.server.kill().unwrap();
    wait(Duration::from_secs(60));
    running.server.resume().unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");

    // It is one run of one process, so its counters cover all candidates.
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let candidates = counter(&report, "rank", "scored") + counter(&report, "rank", "fallbacks");
    assert_eq!(candidates, 110 * RATE * 20, "{report}");
    assert_eq!((counter(&report, "rank", "defaults"), counter(&report, "rank", "bisections")), (0, 0), "{report}");
    let (opened, closed) = (counter(&report, "rank", "circuit_opened"), counter(&report, "rank", "circuit_closed"));
    assert!(opened >= 2 && closed >= 2, "it opened {opened} and closed {closed} times: {log}");
    let rank = report["operators"].as_array().unwrap().iter().find(|o| o["name"] == "rank").unwrap();
    println!("what the operator says: {rank}");

    let found = parsed(&predictions);
    let ids: BTreeSet<u64> = found.iter().map(|line| line["scroll_id"].as_u64().unwrap()).collect();
    assert_eq!((found.len(), ids.len()), ((110 * RATE) as usize, (110 * RATE) as usize));
    // While the server is slow or gone, the fallback is used; at the end, the server is used again.
    let by_id: BTreeMap<u64, u64> =
        found.iter().map(|line| (line["scroll_id"].as_u64().unwrap(), line["fallbacks"].as_u64().unwrap())).collect();
    let fallbacks = |from: u64, to: u64| by_id.range(from * RATE..to * RATE).filter(|(_, n)| **n > 0).count() as u64;
    println!(
        "recommendations without the server, of {RATE}/s: {:?} in each 10 s",
        (0..11).map(|tens| fallbacks(tens * 10, tens * 10 + 10)).collect::<Vec<_>>()
    );
    assert!(fallbacks(12, 18) > 0 && fallbacks(40, 80) > 0);
    assert_eq!(fallbacks(108, 110), 0, "the server is not used again: {log}");

    // The fallback is the same model, so the recommendations are the same as without a server.
    let mut plain = example("content_recommendation");
    finish(plain.args(["--count", &count, "--print", "0", "--predictions"]).arg(&expected));
    let posts = |lines: &[Value]| -> BTreeMap<u64, Vec<u64>> {
        let posts =
            |line: &Value| line["posts"].as_array().unwrap().iter().map(|p| p["post_id"].as_u64().unwrap()).collect();
        lines.iter().map(|line| (line["scroll_id"].as_u64().unwrap(), posts(line))).collect()
    };
    assert_eq!(posts(&found), posts(&parsed(&expected)));
    assert_eq!(lines(&examples).len() as u64, 110 * RATE * 5);
}
