//! A control topic: requests to change models, as messages.

use serde_json::json;
use testkit::{example, finish, lines};
use tests::control::three_versions;

use crate::cluster::{alone, cluster};
use crate::job::{dies_at, exactly_once_and_in_order, job, transactions};

/// The job reads the topic from its beginning, beside transactions that are there, too, and waits for the requests: so it makes
/// the switches where a job does that was told of them at its start.
#[test]
fn switches_of_a_control_topic_are_at_the_same_transactions_in_each_run() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let models = scratch.path().join("models");
    three_versions(&models);
    const COUNT: usize = 6000;
    const SWITCHES: [(u64, &str); 2] = [(3, "2026-01-01T03:00:00Z"), (2, "2026-01-01T08:30:00Z")];
    let (input, control) = (transactions(&cluster, COUNT, 2), cluster.topic("control", 1));
    control.produce(SWITCHES.map(|(version, from)| {
        let change = json!({ "switch": { "model": format!("fraud_velocity/{version}"), "from_event_time": from } });
        let request = json!({ "id": from, "operator": "score", "change": change, "by": "a test" });
        (0, String::new(), request.to_string())
    }));
    let mut calm = example("fraud_velocity");
    calm.args(["--count", &COUNT.to_string(), "--use-model", "fraud_velocity/1", "--models"]).arg(&models);
    for (version, from) in SWITCHES {
        calm.arg("--switch").arg(format!("fraud_velocity/{version}={from}"));
    }
    finish(calm.arg("--predictions").arg(scratch.path().join("calm")));
    let expected = lines(&scratch.path().join("calm"));
    for (run, place) in [("a calm run", None), ("a crash", Some("after-delta:3"))] {
        let output = cluster.topic("predictions", 2);
        let mut command = job(&input, &output.url(), &scratch.path().join(run), 2);
        command.args(["--use-model", "fraud_velocity/1", "--control", &control.url(), "--models"]).arg(&models);
        if let Some(place) = place {
            dies_at(&mut command, place);
        }
        finish(&mut command);
        exactly_once_and_in_order(&output.committed(), &expected, run);
    }
    for version in 1..=3 {
        let name = format!("fraud_velocity/{version}@");
        assert!(expected.iter().any(|line| line.contains(&name)), "version {version} has scored nothing");
    }
}
