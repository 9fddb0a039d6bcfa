//! The example `iot_window`, which takes requests as it reads files and topics.

use testkit::{Killed, example, finish};
use tests::until;

use crate::client::Post;
use crate::job::World;
use testkit::objects;
use tests::crashes::stop;

#[test]
fn iot_window_takes_requests() {
    let world = World::with("max-out-of-orderness=2s");
    let file = world.path("readings.jsonl");
    finish(example("iot_window").args(["--machines", "3", "--seconds", "40", "--write-input"]).arg(&file));
    let lines = std::fs::read_to_string(&file).unwrap();
    let mut job = example("iot_window");
    job.args(["--input", &world.url(), "--checkpoint-interval", "50ms", "--features"]).arg(world.path("features"));
    let job = world.started(job.arg("--checkpoint-dir").arg(world.path("checkpoints")));
    let lines: Vec<&str> = lines.lines().collect();
    for batch in lines.chunks(7) {
        let reply = Post::lines(batch.join("\n")).send(world.address).unwrap();
        assert_eq!((reply.status, reply.json()["records"].as_u64()), (200, Some(batch.len() as u64)));
    }
    // The watermark is in the fourth window of ten seconds: three are over, for each of three machines.
    until("nine windows are written", || objects(&world.path("features")).len() >= 9);
    stop(job);
    let counts: Vec<u64> = objects(&world.path("features")).iter().filter_map(|row| row["count"].as_u64()).collect();
    assert!(counts.len() == 9 && counts.iter().all(|count| *count == 10), "{counts:?}");
}

#[test]
fn the_other_examples_say_that_they_do_not() {
    let error = testkit::fail(example("fraud_velocity").args(["--input", "http+ingest://127.0.0.1:0/x"]));
    let why = "reads each line at two times, and a message comes once: of the examples, iot_window takes it";
    assert!(error.contains(why), "{error}");
    let error = testkit::fail(example("iot_window").args(["--features", "http+ingest://127.0.0.1:0/x"]));
    assert!(error.contains("is only read"), "{error}");
    // An epoch of such a job commits, too, and nothing of it is there after a crash.
    let error = testkit::fail(example("iot_window").args(["--input", "http+ingest://127.0.0.1:0/x"]));
    assert!(error.contains("answered when their epoch is committed, which needs checkpoint_dir"), "{error}");
    let mut both =
        Killed(example("iot_window").args(["--input", "a.csv", "http+ingest://127.0.0.1:0/x"]).spawn().unwrap());
    assert!(!both.wait().unwrap().success());
}
