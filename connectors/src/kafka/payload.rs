//! How payloads become records: JSON, Avro, Protobuf, rows of a changelog.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::decode::{Decode, Incoming, NotDecoded};
use super::registry::{SchemaRegistry, framed};

fn payload<'a>(message: Incoming<'a>) -> Result<&'a [u8], NotDecoded> {
    message.payload().ok_or(NotDecoded::Tombstone)
}

/// Payloads of JSON.
pub fn json<T: DeserializeOwned + 'static>() -> impl Decode<T> {
    |message: Incoming<'_>| serde_json::from_slice(payload(message)?).map_err(NotDecoded::poison)
}

/// What a message of a changelog (a compacted topic, change data capture) says of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedRow<K, T> {
    /// The message's key.
    pub key: K,
    /// Its payload; none in a tombstone: the key was deleted.
    pub row: Option<T>,
    /// The message's timestamp: a deletion has no other event time.
    pub timestamp: EventTime,
    /// Its offset: of two changes of a key, in one partition, the later one has the greater.
    pub offset: u64,
}

/// What `decode` makes of payloads, with their keys, and tombstones as deletions: for tables
/// ([`Changelog`](https://docs.rs/tidemill-operators) takes key and row as they are).
pub fn or_deleted<K: 'static, T: 'static>(
    key: impl Fn(&[u8]) -> Result<K, String> + Send + Sync + 'static,
    decode: impl Decode<T>,
) -> impl Decode<KeyedRow<K, T>> {
    move |message: Incoming<'_>| {
        let bytes = message.key().ok_or_else(|| NotDecoded::poison("it has no key"))?;
        let key = key(bytes).map_err(|reason| NotDecoded::poison(format!("its key: {reason}")))?;
        let row = message.payload().map(|_| decode.decode(message)).transpose()?;
        let ms = message.timestamp_ms().ok_or_else(|| NotDecoded::poison("it has no timestamp"))?;
        let offset = u64::try_from(message.offset()).unwrap_or(0);
        Ok(KeyedRow { key, row, timestamp: EventTime(ms), offset })
    }
}

/// The same with payloads of JSON. `key` reads keys: [`text_key`], [`json_key`], or a function of one's own.
pub fn json_or_deleted<K: 'static, T: DeserializeOwned + 'static>(
    key: impl Fn(&[u8]) -> Result<K, String> + Send + Sync + 'static,
) -> impl Decode<KeyedRow<K, T>> {
    or_deleted(key, json())
}

/// Keys of text.
///
/// # Errors
/// When the key is not UTF-8.
pub fn text_key(key: &[u8]) -> Result<String, String> {
    String::from_utf8(key.to_vec()).map_err(|error| error.to_string())
}

/// Keys of JSON.
///
/// # Errors
/// When the key is no `K`.
pub fn json_key<K: DeserializeOwned>(key: &[u8]) -> Result<K, String> {
    serde_json::from_slice(key).map_err(|error| error.to_string())
}

/// Payloads as they are.
pub fn raw() -> impl Decode<Vec<u8>> {
    |message: Incoming<'_>| payload(message).map(<[u8]>::to_vec)
}

/// Payloads of Avro in Confluent's wire format: a zero, the id of the writer's schema in `registry`, the record.
pub fn avro<T: DeserializeOwned + 'static>(registry: SchemaRegistry) -> impl Decode<T> {
    move |message: Incoming<'_>| decode_avro(&registry, payload(message)?)
}

pub(super) fn decode_avro<T: DeserializeOwned>(registry: &SchemaRegistry, payload: &[u8]) -> Result<T, NotDecoded> {
    let (id, mut rest) = framed(payload)?;
    let schema = registry.avro(id)?;
    let value = apache_avro::from_avro_datum(&schema, &mut rest, None).map_err(NotDecoded::poison)?;
    apache_avro::from_value(&value).map_err(NotDecoded::poison)
}

/// Payloads of Protobuf, without any framing.
pub fn protobuf<T: prost::Message + Default + 'static>() -> impl Decode<T> {
    |message: Incoming<'_>| T::decode(payload(message)?).map_err(NotDecoded::poison)
}

/// Payloads of Protobuf in Confluent's wire format: a zero, the schema's id, the path to the message's type in the
/// schema, the message. The type is `T`: neither id nor path are looked up.
pub fn framed_protobuf<T: prost::Message + Default + 'static>() -> impl Decode<T> {
    |message: Incoming<'_>| decode_framed_protobuf(payload(message)?)
}

fn decode_framed_protobuf<T: prost::Message + Default>(payload: &[u8]) -> Result<T, NotDecoded> {
    let (_, mut rest) = framed(payload)?;
    // Zigzag numbers: how many, then each. None stands for the first type.
    let number = |rest: &mut &[u8]| {
        let zigzag = prost::encoding::decode_varint(rest).map_err(NotDecoded::poison)?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    };
    for _ in 0..number(&mut rest)? {
        number(&mut rest)?;
    }
    T::decode(rest).map_err(NotDecoded::poison)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn protobuf_is_found_behind_its_frame() {
        // Protobuf's own StringValue: a message with a string.
        let value = "a card".to_owned();
        let message = value.encode_to_vec();
        for path in [&[0][..], &[4, 2, 0], &[2, 6]] {
            let payload = [&[0, 0, 0, 0, 7], path, &message].concat();
            assert_eq!(decode_framed_protobuf::<String>(&payload).unwrap(), value);
        }
        for wrong in [&b""[..], b"\0\0\0\0\x07", b"\0\0\0\0\x07\xff\xff", b"\0\0\0\0\x07\0\x0a\x09c"] {
            assert!(matches!(decode_framed_protobuf::<String>(wrong), Err(NotDecoded::Poison(_))), "{wrong:?}");
        }
    }
}
