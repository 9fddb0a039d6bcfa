//! The Kafka source as a library: topics by pattern, every way to start, keys and headers, Avro and Protobuf, and
//! offsets for lag monitors.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use prost::Message as _;
use serde::{Deserialize, Serialize};
use tidemill::error::{ConnectorError, ErrorKind};
use tidemill::kafka::{self, Connection, Incoming, NotDecoded, Start, Topics};
use tidemill::prelude::*;

use crate::cluster::{Cluster, Topic, alone, cluster};
use crate::job::{live_job, stop, transactions};
use tests::until;

fn number(message: Incoming<'_>) -> Result<u64, NotDecoded> {
    let text = std::str::from_utf8(message.payload().unwrap_or_default()).map_err(NotDecoded::poison)?;
    assert_eq!(message.key(), Some(format!("key of {text}").as_bytes()));
    assert!(message.timestamp().is_some() && message.header("none").is_none());
    text.parse().map_err(NotDecoded::poison)
}

/// Returns what a job reads to the end of the topics, sorted.
fn read(cluster: &Cluster, topics: Topics, start: Start, group: Option<&str>) -> Vec<u64> {
    let connection = Connection::new(&cluster.address);
    let mut source = KafkaSource::new(connection, topics, number, |n| EventTime(*n as i64)).start(start).until_end();
    if let Some(group) = group {
        source = source.group(group);
    }
    let collected = CollectSink::default();
    let sink = collected.clone();
    let args = JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "warn".to_owned(),
        ..JobArgs::default()
    };
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
    assert_eq!(read(&cluster, by_pattern(), Start::Timestamp(EventTime(0)), None).len(), 400);
    assert_eq!(read(&cluster, by_pattern(), Start::Timestamp(EventTime(i64::MAX / 2)), None), [0; 0]);
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

/// One of the numbers stops the job, since a job that follows topics does not end by itself.
#[test]
fn a_topic_that_appears_while_running_is_read_if_the_pattern_takes_it() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let first = cluster.topic("appears", 2);
    let prefix = first.name.clone();
    first.produce((0..100).map(|n| message((n % 2) as i32, n)));
    let decode = |message: Incoming<'_>| match message.payload() {
        Some(b"stop") => Err(NotDecoded::Stop(ConnectorError::new(ErrorKind::Unavailable, "asked to stop"))),
        _ => number(message),
    };
    let topics = Topics::pattern(&format!("{prefix}.*")).unwrap();
    let source = KafkaSource::new(Connection::new(&cluster.address), topics, decode, |n| EventTime(*n as i64));
    let source = source.discovery_interval(Duration::from_millis(200)).idle_after(Duration::from_secs(1));
    let collected = CollectSink::default();
    let sink = collected.clone();
    let args = JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let job = std::thread::spawn(move || {
        Job::new("follow", args).run(move |flow| flow.source("numbers", &source)?.sink("collected", &sink))
    });
    until("what was there is read", || collected.data().len() == 100);
    let later = cluster.topic(&prefix, 3);
    later.produce((100..400).map(|n| message((n % 3) as i32, n)));
    until("the new topic is read", || collected.data().len() == 400);
    later.produce([(0, "k".to_owned(), "stop".to_owned())]);
    let error = job.join().unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("asked to stop"), "{error:?}");
    let mut numbers = collected.data();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    card: String,
    cents: i64,
}

const SCHEMA: &str =
    r#"{"type":"record","name":"Payment","fields":[{"name":"card","type":"string"},{"name":"cents","type":"long"}]}"#;

/// Starts a schema registry that has this schema under every id except 404. Returns its address.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let read = stream.read(&mut request).unwrap();
            let known = !String::from_utf8_lossy(&request[..read]).contains("/404");
            let (status, body) = if known {
                ("200 OK", serde_json::json!({ "schema": SCHEMA }))
            } else {
                ("404 Not Found", serde_json::json!({}))
            };
            let body = body.to_string();
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        }
    });
    url
}

/// Reads a topic to its end. Returns the records, and the reasons of dead letters.
fn decoded<T: Data>(topic: &Topic, decode: impl kafka::Decode<T>) -> (Vec<T>, Vec<String>) {
    let connection = Connection::new(topic.url().split('/').nth(2).unwrap());
    let source = KafkaSource::new(connection, Topics::named(&topic.name), decode, |_| EventTime(0)).until_end();
    let (records, letters) = (CollectSink::default(), CollectSink::default());
    let sinks = (records.clone(), letters.clone());
    let args = JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let build = move |flow: &Flow<'_>| {
        flow.source("payments", &source)?.sink("records", &sinks.0)?;
        flow.dead_letters().sink("letters", &sinks.1)
    };
    Job::new("decode", args).run(build).unwrap();
    (records.data(), letters.data().into_iter().map(|letter: DeadLetter| letter.reason).collect())
}

#[test]
fn avro_and_protobuf_are_read_and_what_is_neither_is_a_dead_letter() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let schema = apache_avro::Schema::parse_str(SCHEMA).unwrap();
    let avro = |id: u32, cents: i64| {
        let value = apache_avro::to_value(Payment { card: "c".to_owned(), cents }).unwrap().resolve(&schema).unwrap();
        [&[0][..], &id.to_be_bytes(), &apache_avro::to_avro_datum(&schema, value).unwrap()].concat()
    };
    let topic = cluster.topic("avro", 2);
    topic.produce((0..100).map(|n| ((n % 2) as i32, "k".to_owned(), avro(7, n))));
    topic.produce([(0, "k".to_owned(), avro(404, 1)), (1, "k".to_owned(), b"{}".to_vec())]);
    let (mut payments, mut reasons) = decoded::<Payment>(&topic, kafka::avro(kafka::SchemaRegistry::new(registry())));
    payments.sort_unstable_by_key(|payment| payment.cents);
    assert_eq!(payments, (0..100).map(|cents| Payment { card: "c".to_owned(), cents }).collect::<Vec<_>>());
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].contains("begins with byte 123") && reasons[1].contains("no schema 404"), "{reasons:?}");

    // The messages are Protobuf's own StringValue.
    let topic = cluster.topic("protobuf", 1);
    topic.produce((0..100).map(|n| (0, "k".to_owned(), format!("card {n:02}").encode_to_vec())));
    topic.produce([(0, "k".to_owned(), b"\x0a\x7f".to_vec())]);
    let (mut cards, reasons) = decoded::<String>(&topic, kafka::protobuf());
    cards.sort_unstable();
    assert_eq!(cards, (0..100).map(|n| format!("card {n:02}")).collect::<Vec<_>>());
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}
