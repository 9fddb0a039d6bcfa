//! The example `iot_window`, which reads MQTT as it reads files and topics.

use testkit::{Killed, example, finish};

use crate::job::{World, until};
use testkit::objects;
use tests::crashes::stop;

#[test]
fn iot_window_reads_mqtt() {
    let mut world = World::new();
    world.options = "session=factory&one-session=true".to_owned();
    let file = world.path("readings.jsonl");
    finish(example("iot_window").args(["--machines", "3", "--seconds", "40", "--write-input"]).arg(&file));
    let lines: Vec<String> = std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 120);
    let mut job = example("iot_window");
    job.args(["--input", &world.url(), "--checkpoint-interval", "50ms", "--features"]).arg(world.path("features"));
    let job = Killed(job.arg("--checkpoint-dir").arg(world.path("checkpoints")).spawn().unwrap());
    let log = world.path("broker/mosquitto.log");
    until("the session has subscribed", || std::fs::read_to_string(&log).unwrap_or_default().contains("as factory-0 "));
    tests::crashes::wait(std::time::Duration::from_millis(500));
    world.broker.publish("sensors/factory", &lines).unwrap();
    // The watermark is in the fourth window of ten seconds: three are over, for each of three machines.
    until("nine windows are written", || objects(&world.path("features")).len() >= 9);
    stop(job);
    let counts: Vec<u64> = objects(&world.path("features")).iter().filter_map(|row| row["count"].as_u64()).collect();
    assert_eq!(counts, [10; 9]);
}
