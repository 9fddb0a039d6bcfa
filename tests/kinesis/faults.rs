//! A service that throttles, fails, answers by half or absurdly, or is away: nothing is lost and nothing comes twice.

use std::time::Duration;

use testkit::fail_with;
use tests::crashes::{errors, wait};

use crate::job::{has_each_once, job, start, until_written};
use crate::service::{Reply, Service};
use tests::crashes::{end, stop};

/// Runs a job with one worker over 1,000 records, of two shards, of which a part comes while it runs.
fn reads_all(service: &Service, when: &str) {
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    (0..600).for_each(|n| service.put((n % 2) as usize, n));
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 100);
    (600..1000).for_each(|n| service.put((n % 2) as usize, n));
    until_written(&readings, 1000);
    stop(running);
    has_each_once(&readings, 1000, when);
}

#[test]
fn throttled_failed_and_half_answers_are_asked_for_again() {
    let service = Service::start(2);
    let mut count = 0;
    service.answer(move |call| {
        count += 1;
        // The start is not disturbed: it asks once.
        match (count % 3, call.operation.as_str()) {
            (0, "GetRecords") => Some(match count % 5 {
                0 => Reply::Refused(400, "ProvisionedThroughputExceededException"),
                1 => Reply::Refused(500, "InternalFailure"),
                2 => Reply::Half,
                3 => Reply::Nothing,
                _ => Reply::Body("{}".to_owned()),
            }),
            (1, "GetShardIterator") => Some(Reply::Refused(400, "LimitExceededException")),
            (2, "ListShards") if count > 10 => Some(Reply::Half),
            _ => None,
        }
    });
    reads_all(&service, "broken answers");
}

/// An answer without a next iterator ends a shard only if the stream says that it is closed.
#[test]
fn an_open_shard_that_seems_to_end_is_read_on() {
    let service = Service::start(2);
    let mut count = 0;
    service.answer(move |call| {
        count += i32::from(call.operation == "GetRecords");
        let ends = call.operation == "GetRecords" && count % 4 == 0;
        ends.then(|| Reply::Body(r#"{"Records":[],"MillisBehindLatest":0}"#.to_owned()))
    });
    reads_all(&service, "ends that are none");
}

/// The service has five reads a second of each shard, for all of its consumers.
#[test]
fn a_shard_is_read_five_times_a_second_at_most() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let running = start(&service.url(""), &readings, 2);
    service.put(0, 0);
    until_written(&readings, 1);
    let (before, begun) = (service.count("GetRecords"), std::time::Instant::now());
    wait(Duration::from_secs(2));
    let reads = service.count("GetRecords") - before;
    let most = begun.elapsed().as_millis() / 200 + 2;
    assert!(reads as u128 <= most, "{reads} reads, and {most} are allowed");
    stop(running);
}

#[test]
fn a_service_that_stays_away_stops_the_job_after_its_patience() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    service.put(0, 0);
    let running = start(&service.url("patience=2s"), &readings, 1);
    until_written(&readings, 1);
    service.answer(|_| Some(Reply::Refused(503, "ServiceUnavailable")));
    let output = end(running);
    let said = errors(&output);
    assert!(said.contains("ServiceUnavailable") && said.contains("for 2 s"), "{said}");
    // The start asks for as long.
    let said = fail_with(3, &mut job(&service.url("patience=1s"), &readings, 1));
    assert!(said.contains("reach Kinesis for stream \"readings\""), "{said}");
}
