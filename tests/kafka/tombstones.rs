//! Tombstones on the mock cluster: a table takes them as deletions, decoders that make no record of them count them
//! as dead letters, and they never stop a job.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rdkafka::mocking::MockCluster;
use tidemill::kafka::{self, Connection, KeyedRow, Topics};
use tidemill::prelude::*;
use tidemill::stream::DeadLetter;

use crate::cluster::{Cluster, alone};

fn args() -> JobArgs {
    JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    }
}

#[test]
fn tombstones_in_a_plain_topic_are_counted_and_stop_no_job() {
    let _alone = alone();
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("prices", 1, 1).unwrap();
    let cluster = Cluster { address: mock.bootstrap_servers() };
    // There are more tombstones in a row than malformed messages are tolerated, and one message that is malformed.
    let tombstones = (0..1500).map(|n| (0, format!("k{n}"), String::new()));
    let others = [
        (0, "k".to_owned(), "7".to_owned()),
        (0, "k".to_owned(), "{oops".to_owned()),
        (0, "k".to_owned(), "8".to_owned()),
    ];
    cluster.produce("prices", tombstones.chain(others));
    let source =
        KafkaSource::new(Connection::new(&cluster.address), Topics::named("prices"), kafka::json(), |_: &u64| {
            EventTime(0)
        });
    let (source, numbers, letters) =
        (source.max_malformed(MaxMalformed::total(1)).until_end(), CollectSink::default(), CollectSink::default());
    let (to, letters_to) = (numbers.clone(), letters.clone());
    let report = Job::new("tombstones", args()).run(move |flow| {
        flow.source("prices", &source)?.sink("out", &to)?;
        flow.dead_letters().sink("letters", &letters_to)
    });
    let report = serde_json::to_value(report.unwrap()).unwrap();
    let counters = &report["operators"].as_array().unwrap().iter().find(|o| o["name"] == "prices").unwrap()["counters"];
    assert_eq!((&counters["tombstones"], &counters["dead_letters"]), (&1500.into(), &1501.into()));
    assert_eq!(numbers.data(), [7, 8]);
    let letters: Vec<DeadLetter> = letters.data();
    let of = |n: usize| letters.iter().find(|letter| letter.origin.ends_with(&format!("/0@{n}"))).unwrap();
    assert!(of(17).reason.contains("a tombstone") && of(17).content == "k17", "{:?}", of(17));
    assert!(of(1501).reason.contains("expected u64"), "{:?}", of(1501));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// The table has the last row of each key, and none if the last message of the key is a tombstone.
    #[test]
    fn a_topic_with_tombstones_is_a_table(changes in prop::collection::vec((0..12u8, prop::option::of(0..100i64)), 1..200)) {
        let _alone = alone();
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("rows", 3, 1).unwrap();
        let cluster = Cluster { address: mock.bootstrap_servers() };
        let message = |(key, row): &(u8, Option<i64>)| {
            (i32::from(key % 3), key.to_string(), row.map_or_else(String::new, |row| row.to_string()))
        };
        cluster.produce("rows", changes.iter().map(message));
        let decode = kafka::json_or_deleted::<u8, i64>(kafka::json_key);
        let source = KafkaSource::new(
            Connection::new(&cluster.address), Topics::named("rows"), decode, |row: &KeyedRow<u8, i64>| row.timestamp,
        ).until_end();
        let emitted = CollectSink::default();
        let to = emitted.clone();
        Job::new("table", args()).run(move |flow| {
            let rows = Changelog::new(|row: KeyedRow<u8, i64>| Upsert { key: row.key, row: row.row });
            let rows = flow.source("rows", &source)?.table("rows-by-key", rows.in_sequence(|row| row.offset))?;
            rows.results.upserts("emitted")?.sink("out", &to)
        }).unwrap();
        let mut records = emitted.records();
        records.sort_by_key(|record| record.event_time);
        let fold = |mut rows: BTreeMap<u8, i64>, (key, row): (u8, Option<i64>)| {
            match row {
                Some(row) => drop(rows.insert(key, row)),
                None => drop(rows.remove(&key)),
            }
            rows
        };
        let found = records.into_iter().map(|r: Record<Upsert<u8, i64>>| (r.data.key, r.data.row)).fold(BTreeMap::new(), fold);
        prop_assert_eq!(found, changes.into_iter().fold(BTreeMap::new(), fold));
    }
}
