//! What users of other systems have reported of their Redis sinks, tried on this one. Two more are in `faults`.

use std::time::Duration;

use tidemill::prelude::*;
use tidemill::redis::RedisWrite;

use crate::faults::{checkpoints, numbered, settings};
use crate::refused::contains;
use crate::server::server;
use crate::values::{Card, card, write};

/// redis-field-engineering/redis-kafka-connect#47: of a value and a deletion of one key in one batch, the deletion is first.
#[test]
fn a_value_and_a_deletion_of_one_key_keep_their_order_within_an_epoch() {
    let Some(running) = server() else { return };
    let set = || RedisWrite::Set { field: Some("name".to_owned()), ttl: None };
    let cards = |names: [Option<&str>; 3]| names.into_iter().map(|name| card(7, name, None)).collect::<Vec<Card>>();
    write(&running, "c:{id}", set(), cards([Some("a"), None, Some("b")]));
    assert_eq!(running.query::<String>("GET c:7"), "b");
    write(&running, "c:{id}", set(), cards([Some("a"), Some("b"), None]));
    assert_eq!(running.query::<u64>("EXISTS c:7"), 0);
    let zadd = RedisWrite::Zadd { member: "id".to_owned(), score: "rank".to_owned() };
    let ranks = [Some(1.0), None, Some(3.0)].map(|rank| card(7, None, rank));
    write(&running, "top", zadd, ranks.to_vec());
    assert_eq!(running.query::<f64>("ZSCORE top 7"), 3.0);
}

/// jeff-zou/flink-connector-redis#61 and raystack/firehose#152: a job that ends at once leaves keys without their TTL, which
/// another call was to set; hashes never got one.
#[test]
fn each_key_of_a_job_that_ends_at_once_has_its_ttl() {
    let Some(running) = server() else { return };
    let ttl = Some(Duration::from_secs(30));
    let cards = || (0..10).map(|id| card(id, Some("x"), None)).collect::<Vec<Card>>();
    write(&running, "s:{id}", RedisWrite::Set { field: None, ttl }, cards());
    write(&running, "h:{id}", RedisWrite::Hset { ttl }, cards());
    for id in 0..10 {
        for key in ["s", "h"] {
            assert!((1..=30).contains(&running.query::<i64>(&format!("TTL {key}:{id}"))), "{key}:{id}");
        }
    }
}

/// apache/pulsar#11192: a record with a null key was dropped with a warning, and then written to the empty key.
#[test]
fn a_record_with_a_null_key_stops_the_job_and_is_not_lost() {
    let Some(running) = server() else { return };
    let records = vec![(EventTime(0), card(1, Some("a"), None)), (EventTime(1), card(2, None, None))];
    let run = |key: &str, checkpoints: &str| {
        let (source, sink) = (
            vec_source(records.clone()),
            RedisSink::new(running.at(), key, RedisWrite::Hset { ttl: None }).marker("m"),
        );
        let settings = settings(&running.scratch.path().join(checkpoints));
        Job::new("nulls", settings).run(move |flow| flow.source("cards", &source)?.sink("out", &sink))
    };
    let error = run("c:{name}", "first").unwrap_err().report();
    contains(&error, &["field \"name\" is null, and the key \"c:{name}\" needs it", "Card { id: 2"]);
    assert_eq!(running.query::<Vec<String>>("KEYS c:*"), Vec::<String>::new());
    run("c:{id}", "first").unwrap();
    assert_eq!(running.query::<Vec<String>>("KEYS c:*").len(), 2);
}

/// risingwavelabs/risingwave#13535: a write that fills no batch was never sent. bahir-flink#25, flink-connector-redis#44:
/// after a failure what was sent is sent again.
#[test]
fn a_single_record_is_there_at_the_end_and_once_after_another_start() {
    let Some(running) = server() else { return };
    for _ in 0..3 {
        let sink = RedisSink::new(running.at(), "one", RedisWrite::Xadd { max_len: None });
        let (source, job) = (Generator::new(1, numbered), Job::new("one", settings(&checkpoints(&running))));
        job.run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)).unwrap();
        assert_eq!(running.query::<u64>("XLEN one"), 1);
    }
}
