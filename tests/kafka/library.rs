//! The source as a library: topics by pattern, every way to start, keys and headers, offsets for lag monitors.

use std::collections::BTreeMap;

use tidemill::connectors::kafka::{Connection, Incoming, NotDecoded, Start, Topics};
use tidemill::prelude::*;

use crate::cluster::{Cluster, alone, cluster};
use crate::job::{live_job, stop, transactions, until};

fn number(message: Incoming<'_>) -> Result<u64, NotDecoded> {
    let text = std::str::from_utf8(message.payload().unwrap_or_default()).map_err(NotDecoded::poison)?;
    assert_eq!(message.key(), Some(format!("key of {text}").as_bytes()));
    assert!(message.timestamp_ms().is_some() && message.header("none").is_none());
    text.parse().map_err(NotDecoded::poison)
}

/// What a job reads to the end, sorted.
fn read(cluster: &Cluster, topics: Topics, start: Start, group: Option<&str>) -> Vec<u64> {
    let connection = Connection::new(&cluster.address);
    let mut source = KafkaSource::new(connection, topics, number, |n| EventTime(*n as i64)).start(start).until_end();
    if let Some(group) = group {
        source = source.group(group);
    }
    let collected = CollectSink::default();
    let sink = collected.clone();
    let args = JobArgs { workers: 2, log_level: "warn".to_owned(), ..JobArgs::default() };
    Job::new("read", args).run(move |flow| flow.source("numbers", &source)?.sink("collected", &sink)).unwrap();
    let mut numbers = collected.data();
    numbers.sort_unstable();
    numbers
}

fn message(partition: i32, n: u64) -> (i32, String, String) {
    (partition, format!("key of {n}"), n.to_string())
}

#[test]
fn topics_by_pattern_and_every_way_to_start() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let (first, second, other) = (cluster.topic("pattern", 3), cluster.topic("pattern", 1), cluster.topic("other", 1));
    first.produce((0..300).map(|n| message((n % 3) as i32, n)));
    second.produce((300..400).map(|n| message(0, n)));
    other.produce([message(0, 1000)]);
    let both = format!("{}|{}", first.name, second.name);
    let by_pattern = || Topics::pattern(&both).unwrap();
    assert_eq!(read(&cluster, by_pattern(), Start::Earliest, None), (0..400).collect::<Vec<_>>());
    assert_eq!(read(&cluster, by_pattern(), Start::Latest, None), [0; 0]);
    assert_eq!(read(&cluster, by_pattern(), Start::Timestamp(0), None).len(), 400);
    assert_eq!(read(&cluster, by_pattern(), Start::Timestamp(i64::MAX / 2), None), [0; 0]);
    let offsets = BTreeMap::from([((first.name.clone(), 1), 100), ((second.name.clone(), 0), 98)]);
    let expected: Vec<u64> = (0..300).filter(|n| n % 3 != 1).chain([398, 399]).collect();
    assert_eq!(read(&cluster, by_pattern(), Start::Offsets(offsets), None), expected);
    let named = Topics::Named(vec![second.name.clone(), other.name.clone()]);
    let expected: Vec<u64> = (300..400).chain([1000]).collect();
    assert_eq!(read(&cluster, named, Start::Earliest, None), expected);
    assert_eq!(read(&cluster, by_pattern(), Start::Committed, Some(&first.name)).len(), 400, "nothing was committed");
}

#[test]
fn offsets_are_committed_for_lag_monitors() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (transactions(&cluster, 1000, 2), cluster.topic("predictions", 1));
    let group = input.name.clone();
    let child = live_job(&input.url_with(&format!("group={group}")), &output.url(), scratch.path(), 2).spawn().unwrap();
    until("all offsets are committed", || {
        cluster.committed_offsets(&group, &input.name, 2).iter().sum::<i64>() == 1000
    });
    stop(child);
}
