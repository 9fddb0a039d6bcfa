//! Splits and merges while a job reads: each record comes once, and those of a key in their order.

use std::thread;
use std::time::Duration;

use tests::crashes::wait;

use crate::job::World;
use testkit::objects;
use tests::crashes::stop;

#[test]
fn each_record_is_written_once_by_one_worker_and_by_several() {
    for workers in [1, 2, 3] {
        let world = World::new(4);
        world.stream.put(0..2000);
        let job = world.start(workers);
        world.stream.put(2000..4000);
        world.until_written(4000);
        stop(job);
        world.has_each_once(4000, &format!("{workers} workers"));
        let shards: std::collections::BTreeSet<String> =
            objects(&world.path("readings")).iter().map(|row| row["shard"].to_string()).collect();
        assert_eq!(shards.len(), 4);
    }
}

/// A stream is split and merged under load, so that lines cross workers, and the job runs on.
#[test]
fn splits_and_merges_under_load_keep_each_record_and_the_order_of_keys() {
    for workers in [1, 2] {
        let world = World::new(2);
        let job = world.start(workers);
        let stream = world.stream.clone();
        let producer = thread::spawn(move || {
            let mut put = 0;
            for _ in 0..60 {
                stream.put(put..put + 100);
                put += 100;
                wait(Duration::from_millis(30));
            }
            put
        });
        // The second merge joins what the two workers began with.
        for change in [0, 10, 1, 11, 10, 0, 1, 10] {
            wait(Duration::from_millis(200));
            if change >= 10 { world.stream.merge(change - 10) } else { world.stream.split(change) }
        }
        let put = producer.join().unwrap();
        world.until_written(put);
        stop(job);
        world.has_each_once(put, &format!("{workers} workers"));
    }
}

/// The stream is split and merged several times while the job is down: parents are read before what came of them.
#[test]
fn reshards_while_the_job_is_down_are_read_in_order() {
    let world = World::new(2);
    let job = world.start(2);
    world.stream.put(0..400);
    world.until_written(400);
    stop(job);
    let mut put = 400;
    for change in [0, 1, 10, 10, 10, 0] {
        world.stream.put(put..put + 400);
        put += 400;
        if change >= 10 { world.stream.merge(change - 10) } else { world.stream.split(change) }
    }
    world.stream.put(put..put + 400);
    put += 400;
    let job = world.start(3);
    world.until_written(put);
    stop(job);
    world.has_each_once(put, "after several reshards");
}

/// What two workers read is merged into one shard, which begins when the end of both is committed.
#[test]
fn a_merge_of_shards_of_two_workers_is_followed() {
    let world = World::new(2);
    let job = world.start(2);
    world.stream.put(0..400);
    world.until_written(400);
    world.stream.merge(0);
    world.stream.put(400..800);
    world.until_written(800);
    stop(job);
    world.has_each_once(800, "a merge");
}
