//! What the data of records becomes: records, dead letters, or the records of which a producer has made one.

use std::fs;
use std::path::Path;

use openssl::hash::{MessageDigest, hash};
use prost::encoding;

use crate::job::{has_each_once, start, until_written};
use crate::service::Service;
use testkit::objects;
use tests::crashes::stop;

fn dead_letters(folder: &Path) -> Vec<(String, String)> {
    let rows = objects(folder);
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "origin"), text(row, "reason"))).collect()
}

#[test]
fn data_that_cannot_be_decoded_is_a_dead_letter_with_its_place() {
    let service = Service::start(1);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    service.put(0, 0);
    service.put_data(0, "m", b"not JSON");
    service.put_data(0, "m", b"");
    service.put_data(0, "m", b"\xf3\x89\x9a\xc2 begins like a record of several");
    service.put(0, 1);
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 2);
    stop(running);
    has_each_once(&readings, 2, "dead letters");
    let letters = dead_letters(&readings.with_extension("dead"));
    let origins: Vec<&str> = letters.iter().map(|(origin, _)| origin.as_str()).collect();
    let origin = |sequence: u64| format!("readings/shardId-000000000000@{sequence}");
    assert_eq!(origins, [origin(101), origin(102), origin(103)]);
    assert!(fs::exists(readings).unwrap());
}

/// Returns a record of several, as the Kinesis Producer Library makes them: each with an explicit hash key.
fn aggregate(records: &[(u128, u64)]) -> Vec<u8> {
    let mut message = Vec::new();
    encoding::string::encode(1, &"pump".to_owned(), &mut message);
    records.iter().for_each(|(hash_key, _)| encoding::string::encode(2, &hash_key.to_string(), &mut message));
    for (index, (_, n)) in records.iter().enumerate() {
        let mut record = Vec::new();
        encoding::uint64::encode(1, &0, &mut record);
        encoding::uint64::encode(2, &(index as u64), &mut record);
        encoding::bytes::encode(3, &format!("{{\"n\": {n}, \"celsius\": 95}}").into_bytes(), &mut record);
        encoding::bytes::encode(3, &record, &mut message);
    }
    let digest = hash(MessageDigest::md5(), &message).unwrap();
    [&[0xf3, 0x89, 0x9a, 0xc2][..], &message, &digest].concat()
}

/// A record that is in the wrong shard is one that the producer sends again: it is not lost, and not there twice.
#[test]
fn a_record_of_several_is_taken_apart_and_what_is_in_the_wrong_shard_is_a_dead_letter() {
    let service = Service::start(2);
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings");
    let first: Vec<(u128, u64)> = (0..3000).map(|n| (n.into(), n)).collect();
    service.put_data(0, "a", &aggregate(&first));
    service.put_data(0, "a", &aggregate(&[(0, 3000), (u128::MAX, 3001)]));
    service.put_data(1, "a", &aggregate(&[(u128::MAX, 3001)]));
    let running = start(&service.url(""), &readings, 1);
    until_written(&readings, 3002);
    stop(running);
    let numbers: Vec<u64> = objects(&readings).iter().map(|row| row["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), 3002, "one came twice");
    assert!(objects(&readings).iter().all(|row| row["machine"] == "pump"));
    let letters = dead_letters(&readings.with_extension("dead"));
    assert_eq!(letters[0].0, "readings/shardId-000000000000@101.1");
    assert!(letters.len() == 1 && letters[0].1.contains("sends it again"), "{letters:?}");
}
