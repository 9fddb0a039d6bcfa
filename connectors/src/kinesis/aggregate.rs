//! Records in which a producer (the Kinesis Producer Library, KPL) has put several, as its "Aggregation format" describes:
//!
//! ```text
//! F3 89 9A C2 │ protobuf: table of partition keys, table of explicit hash keys, records │ MD5 of the protobuf
//! ```
//! What does not have all three is a record like any other. A record that came in the wrong shard, because the stream was
//! resharded meanwhile, is one that the producer sends again to the right one.

use std::ops::RangeInclusive;

use md5::{Digest, Md5};
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST: usize = 16;

/// One of the records in a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inner<'a> {
    pub(super) partition_key: &'a str,
    pub(super) data: &'a [u8],
    hash_key: u128,
}

impl Inner<'_> {
    /// Returns whether the record belongs to the shard with these hash keys.
    pub(super) fn belongs(&self, shard: &RangeInclusive<u128>) -> bool {
        shard.contains(&self.hash_key)
    }
}

/// Returns the records in a record; `None` if it is a plain one.
///
/// # Errors
/// When its checksum is right, and its content is not as described.
pub(super) fn inner(data: &[u8]) -> Option<Result<Vec<Inner<'_>>, String>> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST)?)?;
    (Md5::digest(message)[..] == *digest)
        .then(|| parse(message).ok_or_else(|| "it is a record of several (KPL), and cannot be taken apart".to_owned()))
}

/// A field of a message: its number, and its value.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn field<'a>(from: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (number, wire_type) = decode_key(from).ok()?;
    let value = match wire_type {
        WireType::Varint => Value::Number(decode_varint(from).ok()?),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(from).ok()?).ok()?;
            let (bytes, rest) = from.split_at_checked(length)?;
            *from = rest;
            Value::Bytes(bytes)
        }
        _ => return None,
    };
    Some((number, value))
}

fn parse(mut from: &[u8]) -> Option<Vec<Inner<'_>>> {
    let (mut keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    while from.has_remaining() {
        match field(&mut from)? {
            (1, Value::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (2, Value::Bytes(key)) => hash_keys.push(std::str::from_utf8(key).ok()?.parse::<u128>().ok()?),
            (3, Value::Bytes(record)) => records.push(record),
            _ => {}
        }
    }
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        let (key, hash_key, data) = record_of(record)?;
        let partition_key = *keys.get(usize::try_from(key).ok()?)?;
        let hash_key = match hash_key {
            Some(index) => *hash_keys.get(usize::try_from(index).ok()?)?,
            None => u128::from_be_bytes(Md5::digest(partition_key).into()),
        };
        all.push(Inner { partition_key, data, hash_key });
    }
    Some(all)
}

/// Returns the index of a record's partition key, that of its explicit hash key, and its data.
fn record_of(mut from: &[u8]) -> Option<(u64, Option<u64>, &[u8])> {
    let (mut key, mut hash_key, mut data) = (None, None, None);
    while from.has_remaining() {
        match field(&mut from)? {
            (1, Value::Number(index)) => key = Some(index),
            (2, Value::Number(index)) => hash_key = Some(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            _ => {}
        }
    }
    Some((key?, hash_key, data?))
}

#[cfg(test)]
mod tests {
    use prost::encoding;

    use super::*;

    /// Returns a record of several, with the keys `a` and `b`, of which the second has an explicit hash key.
    fn aggregate(records: &[(u64, Option<u64>, &str)]) -> Vec<u8> {
        let mut message = Vec::new();
        for key in ["a", "b"] {
            encoding::string::encode(1, &key.to_owned(), &mut message);
        }
        encoding::string::encode(2, &"7".to_owned(), &mut message);
        for (key, hash_key, data) in records {
            let mut record = Vec::new();
            encoding::uint64::encode(1, key, &mut record);
            hash_key.iter().for_each(|index| encoding::uint64::encode(2, index, &mut record));
            encoding::bytes::encode(3, &data.as_bytes().to_vec(), &mut record);
            encoding::bytes::encode(3, &record, &mut message);
        }
        let digest = Md5::digest(&message);
        [&MAGIC[..], &message, &digest[..]].concat()
    }

    #[test]
    fn records_of_several_are_taken_apart() {
        let bytes = aggregate(&[(0, None, "one"), (1, Some(0), ""), (0, None, "three")]);
        let records = inner(&bytes).unwrap().unwrap();
        let seen: Vec<_> = records.iter().map(|record| (record.partition_key, record.data)).collect();
        assert_eq!(seen, [("a", &b"one"[..]), ("b", b""), ("a", b"three")]);
        // MD5 of "a" is 0cc175b9c0f1b6a831c399e269772661.
        assert_eq!(records[0].hash_key, 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert!(records[1].belongs(&(7..=7)) && !records[0].belongs(&(7..=7)));
    }

    #[test]
    fn what_only_begins_like_one_is_a_plain_record() {
        let bytes = aggregate(&[(0, None, "one")]);
        assert_eq!(inner(b"{}"), None);
        for end in 0..bytes.len() {
            assert_eq!(inner(&bytes[..end]), None, "{end}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(inner(&other), None, "{at}");
        }
    }

    #[test]
    fn what_has_a_right_checksum_and_a_wrong_content_is_an_error() {
        for records in [&[(2, None, "no such key")][..], &[(0, Some(1), "no such hash key")]] {
            assert!(inner(&aggregate(records)).unwrap().is_err());
        }
        let signed = |message: &[u8]| [&MAGIC[..], message, &Md5::digest(message)[..]].concat();
        for message in [&b"\x1a\x7f"[..], b"\xff", b"\x0a\x01\xff", b"\x1a\x02\x08\x00", b"\x0b\x0c"] {
            assert!(inner(&signed(message)).unwrap().is_err(), "{message:?}");
        }
        assert_eq!(inner(&signed(b"")), Some(Ok(Vec::new())), "none is none");
    }
}
