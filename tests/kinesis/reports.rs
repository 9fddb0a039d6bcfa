//! Faults that users of other systems have reported of their Kinesis sources. Each test makes the same happen here.

use std::time::Duration;

use tests::crashes::wait;

use crate::job::{World, has_each_once, start, until_written};
use crate::service::{Reply, Service};
use tests::crashes::stop;

/// influxdata/telegraf#19505, redpanda-data/connect#735: an iterator that had expired was asked for again at the place where the
/// process had started, and everything since came again; or it was not asked for again.
#[test]
fn an_iterator_that_expires_is_asked_for_after_the_last_record() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let running = start(&service.url(""), &readings, 1);
    for turn in 0..4 {
        (turn * 50..turn * 50 + 50).for_each(|n| service.put(0, n));
        until_written(&readings, turn * 50 + 50);
        service.expire_iterators();
    }
    stop(running);
    has_each_once(&readings, 200, "expired iterators");
    let after = |calls: &[crate::service::Call]| {
        calls.iter().filter(|call| call.request["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER").count()
    };
    assert!(service.calls(after) >= 3);
}

/// harlow/kinesis-consumer#125, #98, justtrackio/gosoline#1124: after a day without records, the place after the last of them
/// gives nothing for ever, or begins a day back at each start.
#[test]
fn a_shard_that_was_quiet_for_longer_than_records_are_kept_is_read_on() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let running = || start(&service.url(""), &readings, 1);
    service.put(0, 0);
    let first = running();
    until_written(&readings, 1);
    for n in 1..4 {
        // Three quarters of a day each: nothing has expired unread.
        service.pass(18);
        let reads = service.count("GetRecords");
        until(|| service.count("GetRecords") > reads + 3);
        if n == 3 {
            service.put(0, 1);
        }
    }
    until_written(&readings, 2);
    stop(first);
    // The same over a restart.
    service.pass(20);
    let second = running();
    let reads = service.count("GetRecords");
    until(|| service.count("GetRecords") > reads + 3);
    wait(Duration::from_millis(300));
    stop(second);
    service.pass(20);
    service.put(0, 2);
    let third = running();
    until_written(&readings, 3);
    stop(third);
    has_each_once(&readings, 3, "quiet for days");
}

fn until(mut is: impl FnMut() -> bool) {
    tests::until("the shard was read", &mut is);
}

/// awslabs/amazon-kinesis-client#751, #580: with a start at the latest record, what a split makes is read from its latest, too,
/// and loses its first records; or the start is another one after a restart.
#[test]
fn a_start_at_the_latest_loses_nothing_of_a_split_or_over_a_restart() {
    let mut world = World::new(1);
    world.options += "&start=latest";
    world.stream.put(100..200);
    wait(Duration::from_millis(2500));
    let running = world.start(2);
    // It has begun when it has written something.
    let mut put = 0;
    tests::until("the job reads", || {
        world.stream.put(put..put + 1);
        put += 1;
        !testkit::objects(&world.path("readings")).is_empty()
    });
    stop(running);
    world.stream.put(put..put + 50);
    world.stream.split(0);
    world.stream.put(put + 50..put + 100);
    world.stream.split(0);
    world.stream.split(2);
    world.stream.put(put + 100..put + 150);
    let running = world.start(1);
    let written = || testkit::objects(&world.path("readings"));
    let of = |row: &serde_json::Value| row["n"].as_u64().unwrap();
    tests::until("all since the first are written", || {
        let rows = written();
        let first = rows.first().map(of).unwrap();
        rows.len() as u64 == put + 150 - first
    });
    stop(running);
    let mut numbers: Vec<u64> = written().iter().map(of).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (numbers[0]..put + 150).collect::<Vec<_>>());
}

/// redpanda-data/connect#2649: shards that had been closed before the start were never read.
#[test]
fn shards_that_were_closed_before_the_start_are_read_first() {
    let world = World::new(1);
    for turn in 0..4 {
        world.stream.put(turn * 200..turn * 200 + 200);
        if turn % 2 == 0 { world.stream.split(0) } else { world.stream.merge(0) }
    }
    world.stream.put(800..1000);
    let running = world.start(2);
    world.until_written(1000);
    stop(running);
    world.has_each_once(1000, "closed before the start");
}

/// warpstreamlabs/bento#927: a stream that could not be reached at the start was never read.
#[test]
fn a_service_that_is_away_at_the_start_is_waited_for() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let mut count = 0;
    service.answer(move |_| {
        count += 1;
        (count < 5).then_some(Reply::Refused(503, "ServiceUnavailable"))
    });
    service.put(0, 0);
    let running = start(&service.url(""), &readings, 2);
    until_written(&readings, 1);
    stop(running);
}

/// hampsterx/async-kinesis#26, awslabs/amazon-kinesis-client#662: after a reshard a consumer read a null iterator, or nothing.
#[test]
fn a_shard_that_ends_is_followed_by_what_came_of_it() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let running = start(&service.url(""), &readings, 2);
    service.put(0, 0);
    until_written(&readings, 1);
    service.split(0);
    service.put(1, 1);
    service.put(2, 2);
    until_written(&readings, 3);
    service.split(2);
    service.put(3, 3);
    service.put(4, 4);
    until_written(&readings, 5);
    stop(running);
    has_each_once(&readings, 5, "two splits");
    // The end of a shard is seen once.
    let reads = |calls: &[crate::service::Call]| {
        let of = |call: &&crate::service::Call| {
            call.request["ShardIterator"].as_str().is_some_and(|text| text.contains("0000 "))
        };
        calls.iter().rev().take_while(|call| !of(call)).count()
    };
    assert!(service.calls(reads) > 3, "a shard that has ended is read on");
}
