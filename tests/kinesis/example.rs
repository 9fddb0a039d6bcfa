//! The example `iot_window`, which reads Kinesis as it reads files and topics.

use testkit::{Killed, example, finish};

use crate::job::World;
use testkit::objects;
use tests::crashes::stop;

#[test]
fn iot_window_reads_kinesis() {
    let mut world = World::new(2);
    world.options += "&idle-after=300ms";
    let file = world.path("readings.jsonl");
    finish(example("iot_window").args(["--machines", "3", "--seconds", "40", "--write-input"]).arg(&file));
    let lines = std::fs::read_to_string(&file).unwrap();
    let records: Vec<(String, &[u8])> =
        lines.lines().enumerate().map(|(n, l)| (format!("m{}", n % 3), l.as_bytes())).collect();
    assert_eq!(records.len(), 120);
    world.stream.put_all(&records.iter().map(|(key, data)| (key.as_str(), *data)).collect::<Vec<_>>());
    let mut job = example("iot_window");
    job.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b").args(["--input", &world.url()]);
    job.args(["--checkpoint-interval", "50ms", "--features"]).arg(world.path("features"));
    let job = Killed(job.arg("--checkpoint-dir").arg(world.path("checkpoints")).spawn().unwrap());
    // The watermark is in the fourth window of ten seconds: three are over, for each of three machines.
    tests::until("nine windows are written", || objects(&world.path("features")).len() >= 9);
    stop(job);
    let counts: Vec<u64> = objects(&world.path("features")).iter().filter_map(|row| row["count"].as_u64()).collect();
    assert_eq!(counts, [10; 9]);
}
