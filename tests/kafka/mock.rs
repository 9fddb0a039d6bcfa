//! The same program on librdkafka's mock cluster, which is fast and needs no Java. The mock has no isolation, so
//! everything that was produced is visible. The test shows that the programs can talk to it, not what remains after a
//! crash.

use rdkafka::mocking::MockCluster;

use crate::cluster::{Cluster, alone};
use crate::job::{exactly_once_and_in_order, expected};
use testkit::{example, finish};

const COUNT: usize = 5000;

#[test]
fn the_job_runs_on_the_mock_cluster() {
    let _alone = alone();
    let mock = MockCluster::new(1).unwrap();
    let cluster = Cluster { address: mock.bootstrap_servers() };
    let scratch = tempfile::tempdir().unwrap();
    let expected = expected(COUNT, scratch.path());
    for (topic, partitions) in [("transactions", 3), ("at-least-once", 2), ("exactly-once", 2)] {
        mock.create_topic(topic, partitions, 1).unwrap();
    }
    let url = |topic: &str| format!("kafka://{}/{topic}", cluster.address);
    finish(example("fraud_velocity").args(["--count", &COUNT.to_string(), "--write-input", &url("transactions")]));
    for delivery in ["at-least-once", "exactly-once"] {
        let mut command = example("fraud_velocity");
        command.args(["--input", &url("transactions"), "--until-end", "--order", "event-time", "--workers", "2"]);
        command.args(["--predictions", &format!("{}?delivery={delivery}", url(delivery)), "--checkpoint-dir"]);
        finish(command.arg(scratch.path().join(delivery)));
        exactly_once_and_in_order(&cluster.read(delivery, "read_uncommitted"), &expected, delivery);
    }
}
