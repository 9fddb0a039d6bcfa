//! Lookups of keys in a job, on a real server.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::job::JobSettings;
use tidemill::prelude::*;
use tidemill::redis::{RedisServer, RedisWrite, lookup_hashes, lookup_json};

use crate::server::{Running, server};
use crate::values::{card, write};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Name {
    id: u32,
    name: Option<String>,
}

fn names(found: Vec<(u32, Option<Name>)>) -> Vec<(u32, Option<String>)> {
    let mut found: Vec<_> = found.into_iter().map(|(id, row)| (id, row.and_then(|row| row.name))).collect();
    found.sort();
    found
}

/// Looks up the ids of a job, and returns the rows that were found and the dead letters.
fn looked_up(running: &Running, as_json: bool, ids: Vec<u32>) -> (Vec<(u32, Option<Name>)>, Vec<String>) {
    looked_up_at(running.at(), as_json, ids)
}

fn looked_up_at(at: RedisServer, as_json: bool, ids: Vec<u32>) -> (Vec<(u32, Option<Name>)>, Vec<String>) {
    let (found, letters) = (CollectSink::default(), CollectSink::<DeadLetter>::default());
    let (to, dead) = (found.clone(), letters.clone());
    let source = vec_source((0..).map(EventTime).zip(ids).collect());
    let settings = JobSettings { workers: 1, ..JobSettings::default() };
    let batches = LookupSettings { max_batch_size: 4, ..LookupSettings::default() };
    let fetching = FetchSettings { retries: 1, backoff: Duration::from_millis(1), ..FetchSettings::default() };
    Job::new("lookup", JobArgs { settings, log_level: "off".to_owned(), ..JobArgs::default() })
        .run(move |flow| {
            let ids = flow.source("ids", &source)?;
            let key = |id: &u32| *id;
            let rows = if as_json {
                let open = lookup_json(at.clone(), |id: &u32| format!("json:{id}"));
                ids.lookup_join_async::<u32, Name, _>("names", &batches, &fetching, key, open)?
            } else {
                let open = lookup_hashes(at.clone(), |id: &u32| format!("card:{id}"));
                ids.lookup_join_async::<u32, Name, _>("names", &batches, &fetching, key, open)?
            };
            rows.sink("found", &to)?;
            flow.dead_letters().sink("letters", &dead)
        })
        .unwrap();
    (found.data(), letters.data().into_iter().map(|letter| letter.reason).collect())
}

#[test]
fn rows_are_found_as_the_sink_wrote_them_and_missing_ones_are_none() {
    let Some(running) = server() else { return };
    let cards = || vec![card(1, Some("one"), None), card(2, Some("two"), Some(1.5)), card(3, None, None)];
    write(&running, "json:{id}", RedisWrite::Set { field: None, ttl: None }, cards());
    write(&running, "card:{id}", RedisWrite::Hset { ttl: None }, cards());
    let text = |text: &str| Some(text.to_owned());
    for as_json in [true, false] {
        let (found, letters) = looked_up(&running, as_json, vec![1, 2, 3, 4, 2]);
        assert_eq!(letters, Vec::<String>::new());
        assert_eq!(found.iter().filter(|(_, row)| row.is_none()).count(), 1);
        let expected = [(1, text("one")), (2, text("two")), (2, text("two")), (3, None), (4, None)];
        assert_eq!(names(found), expected, "{as_json}");
    }
}

/// Where MGET would say that there is no such key, a dead letter says that it is another type.
#[test]
fn a_value_that_is_no_row_and_a_key_of_another_type_are_named() {
    let Some(running) = server() else { return };
    running.query::<()>("SET json:1 {\"id\":\"x\"}");
    running.query::<()>("HSET json:2 id 2");
    running.query::<()>("HSET card:1 id x");
    running.query::<()>("SET card:2 x");
    for (as_json, id, says) in [
        (true, 1, "the key \"json:1\" of 127.0.0.1"),
        (true, 2, "look up \"json:2\""),
        (false, 1, "field \"id\" is \"x\""),
        (false, 2, "WRONGTYPE"),
    ] {
        let (found, letters) = looked_up(&running, as_json, vec![id]);
        assert!(found.is_empty() && letters.len() == 1 && letters[0].contains(says), "{found:?} {letters:?}");
    }
    let nowhere = RedisServer::new("127.0.0.1").port(1);
    let (found, letters) = looked_up_at(nowhere, true, vec![1]);
    assert!(found.is_empty() && letters[0].contains("could not connect to 127.0.0.1:1/0: "), "{letters:?}");
}
