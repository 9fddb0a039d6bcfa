//! What users of other systems have reported of their sources of streams, tried on this one. More are in `gone` and `refused`.

use std::time::Duration;

use tests::crashes::wait;

use super::job::{World, tell};
use testkit::objects;
use tests::crashes::stop;

/// coleifer/walrus#107: who asks for `$` each time loses what is added between two reads. Ours is resolved once, and is in the
/// checkpoint.
#[test]
fn from_the_latest_entry_on_nothing_is_missed_also_while_the_job_is_down() {
    let Some(mut world) = World::new() else { return };
    world.add(0..30);
    world.options = "&start=latest".to_owned();
    let job = world.start(2);
    // The first epoch has the place where it begins.
    tests::until("an epoch is committed", || has_epoch(&world));
    world.add(30..60);
    world.until_written(30);
    stop(job);
    world.add(60..90);
    let job = world.start(1);
    world.until_written(60);
    stop(job);
    world.has_each_once(30..90, "from the latest entry on");
}

fn has_epoch(world: &World) -> bool {
    let folder = world.path("readings.checkpoints");
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("manifest"))
}

/// spring-projects/spring-data-redis#2833 and walmartlabs/cookie-cutter#217: after a lost connection nothing is read any more.
/// redis/go-redis#2131: restarts of a server without any entry between them use up the attempts.
#[test]
fn many_restarts_without_an_entry_do_not_wear_patience_out() {
    let Some(mut world) = World::new() else { return };
    world.options = "&patience=4s".to_owned();
    world.add(0..3);
    let job = world.start(1);
    world.until_written(3);
    // Together they last longer than patience.
    for _ in 0..10 {
        world.running.server.kill().unwrap();
        wait(Duration::from_millis(500));
        world.running.server.resume().unwrap();
        let clients = || world.running.query::<String>("CLIENT LIST TYPE normal").lines().count();
        tests::until("the job is connected beside this test", || clients() > 1);
    }
    world.add(3..6);
    world.until_written(6);
    stop(job);
    world.has_each_once(0..6, "after restarts");
}

/// redpanda-data/connect#1888: a stream that is not there yet gives nothing, without a word, and later neither.
#[test]
fn a_stream_that_is_made_after_the_start_is_read_from_its_first_entry() {
    let Some(world) = World::new() else { return };
    let job = world.start(2);
    wait(Duration::from_millis(300));
    world.add(0..30);
    world.until_written(30);
    stop(job);
    world.has_each_once(0..30, "made after the start");
}

/// Entries of any size: a page is bounded by bytes, and one entry may be larger than it. A name may be there twice, and what
/// is no field of the record is left out.
#[test]
fn large_entries_and_odd_fields_are_read() {
    let Some(mut world) = World::new() else { return };
    let mut connection = world.running.connection();
    for n in 0..40_u64 {
        let note = "x".repeat(if n % 10 == 0 { 3 << 20 } else { 100 });
        let mut add = redis::cmd("XADD");
        add.arg("s:0").arg("*").arg("note").arg(note).arg("n").arg(n).arg("celsius").arg(1.5).arg("").arg("");
        add.exec(&mut connection).unwrap();
    }
    tell(&world.running.server, "XADD s:0 * n 40 celsius 1 n 41");
    let output = world.read_all(1);
    assert!(output.status.success(), "{}", tests::crashes::errors(&output));
    // Which of two values is meant nobody can say.
    let letters = objects(&world.path("readings.dead"));
    assert!(letters.len() == 1 && letters[0]["reason"].as_str().unwrap().contains("duplicate field"), "{letters:?}");
    world.has_each_once(0..40, "large ones");
}
