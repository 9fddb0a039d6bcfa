//! What was written is what the server has, for each command.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::job::JobSettings;
use tidemill::prelude::*;
use tidemill::redis::RedisWrite;

use crate::faults::settings;
use crate::server::{Running, server};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Card {
    pub id: u32,
    pub name: Option<String>,
    pub rank: Option<f64>,
    pub big: u64,
    pub tags: Vec<String>,
}

pub fn card(id: u32, name: Option<&str>, rank: Option<f64>) -> Card {
    Card {
        id,
        name: name.map(str::to_owned),
        rank,
        big: u64::MAX,
        tags: vec!["a\"\r\n".to_owned(), "\u{1f980}".to_owned()],
    }
}

/// Runs a job of one worker that writes these records in one epoch, under a marker of its own.
pub fn write(running: &Running, key: &str, write: RedisWrite, records: Vec<Card>) {
    let scratch = tempfile::tempdir_in(running.scratch.path()).unwrap();
    let name = scratch.path().file_name().unwrap().to_string_lossy().into_owned();
    let sink = RedisSink::new(running.at(), key, write).marker(name);
    let source = vec_source((0..).map(EventTime).zip(records).collect());
    let one = JobSettings { workers: 1, checkpoint_interval: Duration::from_secs(60), ..settings(scratch.path()) };
    Job::new("values", one).run(move |flow| flow.source("cards", &source)?.sink("out", &sink)).unwrap();
}

const fn ttl(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn each_command_writes_what_the_record_has() {
    let Some(running) = server() else { return };
    let name = "tab\t, \0, back\\slash";
    let cards = || vec![card(7, Some(name), Some(0.1)), card(8, None, Some(f64::INFINITY))];
    let text = |parts: &[&str]| running_get(&running, parts);

    write(&running, "json:{id}", RedisWrite::Set { field: None, ttl: ttl(100) }, cards());
    let json: Card = serde_json::from_str(&text(&["GET", "json:7"]).unwrap()).unwrap();
    assert_eq!((json.id, json.name.as_deref(), json.rank, json.big), (7, Some(name), Some(0.1), u64::MAX));
    assert_eq!(json.tags, card(7, None, None).tags);
    assert!((1..=100).contains(&running.query::<i64>("TTL json:7")));

    write(&running, "name:{id}", RedisWrite::Set { field: Some("name".to_owned()), ttl: None }, cards());
    assert_eq!(text(&["GET", "name:7"]).as_deref(), Some(name));
    assert_eq!((text(&["GET", "name:8"]), running.query::<i64>("TTL name:7")), (None, -1));

    write(&running, "card:{id}", RedisWrite::Hset { ttl: ttl(50) }, cards());
    assert_eq!(text(&["HGET", "card:7", "name"]).as_deref(), Some(name));
    assert_eq!(text(&["HGET", "card:7", "rank"]).as_deref(), Some("0.1"));
    assert_eq!(text(&["HGET", "card:7", "big"]).as_deref(), Some("18446744073709551615"));
    assert_eq!(text(&["HGET", "card:7", "tags"]).as_deref(), Some("[\"a\\\"\\r\\n\",\"\u{1f980}\"]"));
    assert_eq!(running.query::<Vec<String>>("HKEYS card:8"), ["id", "rank", "big", "tags"]);
    assert!((1..=50).contains(&running.query::<i64>("TTL card:8")));

    write(&running, "top", RedisWrite::Zadd { member: "id".to_owned(), score: "rank".to_owned() }, cards());
    let top: Vec<(String, f64)> = running.query("ZRANGE top 0 -1 WITHSCORES");
    assert_eq!(top, [("7".to_owned(), 0.1), ("8".to_owned(), f64::INFINITY)]);

    let stream = RedisWrite::Xadd { max_len: NonZeroU64::new(100) };
    write(&running, "log", stream, (0..1000).map(|id| card(id, None, None)).collect());
    // By whole nodes, of 100 entries.
    assert!((100..=200).contains(&running.query::<u64>("XLEN log")));
    let last: Vec<(String, Vec<String>)> = running.query("XREVRANGE log + - COUNT 1");
    assert_eq!(last[0].1[..4], ["id", "999", "big", "18446744073709551615"]);
}

fn running_get(running: &Running, parts: &[&str]) -> Option<String> {
    redis::cmd(parts[0]).arg(&parts[1..]).query(&mut running.connection()).unwrap()
}

/// A field that has become null is no longer in the hash, and one that the record does not have stays.
#[test]
fn a_hash_has_no_value_of_an_earlier_record() {
    let Some(running) = server() else { return };
    running.query::<()>("HSET card:7 theirs 1 name old rank 5");
    write(&running, "card:{id}", RedisWrite::Hset { ttl: None }, vec![card(7, None, Some(2.0))]);
    let mut fields: Vec<String> = running.query("HKEYS card:7");
    fields.sort();
    assert_eq!(fields, ["big", "id", "rank", "tags", "theirs"]);
    assert_eq!(running.query::<String>("HGET card:7 rank"), "2.0");
}

/// A value of some megabytes is a batch of its own.
#[test]
fn a_value_larger_than_a_batch_is_written_whole() {
    let Some(running) = server() else { return };
    let long = "x".repeat(5 << 20);
    let cards = vec![card(1, Some("a"), None), card(2, Some(&long), None), card(3, Some("c"), None)];
    write(&running, "card:{id}", RedisWrite::Hset { ttl: None }, cards);
    assert_eq!(running.query::<usize>("HSTRLEN card:2 name"), long.len());
    assert_eq!(running.query::<String>("HGET card:3 name"), "c");
}
