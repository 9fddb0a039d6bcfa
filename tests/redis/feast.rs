//! Feast's layout: what is newest by event time stays, whoever wrote it. That the bytes are Feast's is a test of the crate.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::job::JobSettings;
use tidemill::prelude::*;
use tidemill::redis::{RedisUrl, RedisWrite};

use crate::faults::settings;
use crate::server::{Running, server};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stats {
    driver_id: u64,
    trips: Option<i64>,
}

/// The key of driver 7 in the project `demo`, and the fields of its view `stats`.
const KEY: &[u8] = b"\x01\0\0\0\x02\0\0\0\x09\0\0\0driver_id\x04\0\0\0\x08\0\0\0\x07\0\0\0\0\0\0\0demo";
const TIME: &[u8] = b"_ts:stats";
const TRIPS: &[u8] = b"\xeb\x34\x2a\x65";

fn write(running: &Running, records: &[(i64, Option<i64>)]) {
    let scratch = tempfile::tempdir_in(running.scratch.path()).unwrap();
    let name = scratch.path().file_name().unwrap().to_string_lossy().into_owned();
    let feast = RedisWrite::Feast { project: "demo".into(), view: "stats".into(), ttl: Some(Duration::from_secs(100)) };
    let sink = RedisSink::new(running.at(), "{driver_id}", feast).marker(name);
    let stats = records.iter().map(|(time, trips)| (EventTime(*time), Stats { driver_id: 7, trips: *trips }));
    let source = vec_source(stats.collect());
    let one = JobSettings { workers: 1, checkpoint_interval: Duration::from_secs(60), ..settings(scratch.path()) };
    Job::new("feast", one).run(move |flow| flow.source("stats", &source)?.sink("out", &sink)).unwrap();
}

fn stored(running: &Running) -> (Vec<u8>, Vec<u8>) {
    redis::cmd("HMGET").arg(KEY).arg(TIME).arg(TRIPS).query(&mut running.connection()).unwrap()
}

fn put(running: &Running, time: &[u8], trips: &[u8]) {
    let mut put = redis::cmd("HSET");
    put.arg(KEY).arg(TIME).arg(time).arg(TRIPS).arg(trips);
    put.query::<()>(&mut running.connection()).unwrap();
}

#[test]
fn the_newest_by_event_time_stays() {
    let Some(running) = server() else { return };
    // Of one epoch: neither the last one nor the largest.
    write(&running, &[(2_000, Some(1)), (300_001, Some(2)), (299_000, Some(3)), (300_000, Some(4))]);
    let newest = (b"\x08\xac\x02\x10\xc0\x84\x3d".to_vec(), b"\x20\x02".to_vec());
    assert_eq!(stored(&running), newest);
    let ttl = || redis::cmd("TTL").arg(KEY).query::<i64>(&mut running.connection()).unwrap();
    assert!((1..=100).contains(&ttl()), "{}", ttl());
    // Of another epoch and another job: older, and so nothing changes; at the same time, and so the last one stays.
    write(&running, &[(300_000, Some(5))]);
    assert_eq!(stored(&running), newest);
    write(&running, &[(300_001, None)]);
    assert_eq!(stored(&running), (newest.0, Vec::new()), "null is the empty message");
}

#[test]
fn what_feast_itself_has_written_is_compared_with() {
    let Some(running) = server() else { return };
    // Feast's time is 2026-11-27 23:00:00.5: later by a millisecond, and earlier by one.
    let feasts: &[u8] = b"\x08\xf0\x96\xa8\xd8\x06\x10\x80\xca\xb5\xee\x01";
    put(&running, feasts, b"\x20\x63");
    let time = 1_795_820_400_500;
    write(&running, &[(time - 1, Some(1))]);
    assert_eq!(stored(&running), (feasts.to_vec(), b"\x20\x63".to_vec()));
    write(&running, &[(time + 1, Some(2))]);
    assert_eq!(stored(&running).1, b"\x20\x02");
    // What is no time, and one before 1970, which has ten bytes, are older than any.
    for older in [&b"\x08\xff"[..], b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x10", b""] {
        put(&running, older, b"\x20\x63");
        write(&running, &[(1_000, Some(3))]);
        assert_eq!(stored(&running), (b"\x08\x01".to_vec(), b"\x20\x03".to_vec()), "{older:?}");
    }
}

#[test]
fn what_is_no_view_is_refused_before_the_first_record() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Other {
        id: u64,
        is_new: bool,
        list: Vec<u8>,
    }
    let Some(running) = server() else { return };
    let feast = |view: &str| RedisWrite::Feast { project: "demo".into(), view: view.into(), ttl: None };
    fn refused<T: Data + Sync>(running: &Running, key: &str, write: RedisWrite) -> String {
        let scratch = tempfile::tempdir_in(running.scratch.path()).unwrap();
        let (sink, source) = (RedisSink::<T>::new(running.at(), key, write), vec_source(Vec::<(EventTime, T)>::new()));
        let job = Job::new("feast", settings(scratch.path()));
        job.run(move |flow| flow.source("in", &source)?.sink("out", &sink)).unwrap_err().report()
    }
    for (error, says) in [
        (refused::<Stats>(&running, "driver:{driver_id}", feast("s")), "the key names the entities and nothing else"),
        (refused::<Stats>(&running, "{driver}", feast("s")), "there is no field \"driver\""),
        (refused::<Stats>(&running, "{driver_id}{trips}", feast("s")), "none is a feature"),
        (refused::<Stats>(&running, "{driver_id}", feast("")), "has no name"),
        (refused::<Other>(&running, "{id}", feast("s")), "\"list\" is nested"),
        (refused::<Other>(&running, "{is_new}", feast("s")), "\"is_new\" is neither a text nor an integer"),
    ] {
        assert!(error.contains(says), "{error}");
    }
}

/// Views that have the same entities are written by jobs whose sinks have the same name.
#[test]
fn each_view_has_markers_of_its_own() {
    let Some(running) = server() else { return };
    for view in ["stats", "other"] {
        let feast = RedisWrite::Feast { project: "demo".into(), view: view.into(), ttl: None };
        let sink = RedisSink::new(running.at(), "{driver_id}", feast);
        let source = vec_source(vec![(EventTime(1_000), Stats { driver_id: 7, trips: Some(1) })]);
        let one = JobSettings { workers: 1, ..settings(&running.scratch.path().join(view)) };
        Job::new("feast", one).run(move |flow| flow.source("stats", &source)?.sink("out", &sink)).unwrap();
    }
    let mut markers: Vec<String> = running.query("KEYS tidemill:marker:*");
    markers.sort();
    assert_eq!(markers, ["tidemill:marker:demo:other.out:0", "tidemill:marker:demo:stats.out:0"]);
    let fields: Vec<Vec<u8>> = redis::cmd("HKEYS").arg(KEY).query(&mut running.connection()).unwrap();
    assert!(fields.contains(&TIME.to_vec()) && fields.contains(&b"_ts:other".to_vec()) && fields.len() == 4);
}

#[test]
fn a_url_says_it() {
    let url: RedisUrl = "redis://h/0?key={driver_id}&command=feast&project=demo&view=stats&ttl=7d".parse().unwrap();
    let ttl = Some(Duration::from_secs(604_800));
    assert_eq!(url.write, RedisWrite::Feast { project: "demo".into(), view: "stats".into(), ttl });
    let refused = |url: &str| url.parse::<RedisUrl>().unwrap_err().to_string();
    assert!(refused("redis://h/0?key={id}&command=feast&project=demo").contains("command=feast needs view=NAME"));
    assert!(refused("redis://h/0?key={id}&command=hset&view=x").contains("view= is not for command=hset"));
}
