//! The decoding of payloads that are JSON, plain bytes, or rows of a changelog.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::decode::{Decode, Incoming, NotDecoded};
use crate::json::Json;

/// Returns the bytes that a decoder reads.
pub(super) fn payload<'a>(message: Incoming<'a>) -> Result<&'a [u8], NotDecoded> {
    message.payload().ok_or(NotDecoded::Tombstone)
}

/// Returns a decoder of JSON payloads.
pub fn json<T: DeserializeOwned + 'static>() -> impl Decode<T> {
    let json = Json::default();
    move |message: Incoming<'_>| json.value(payload(message)?).map_err(NotDecoded::poison)
}

/// A change of one key: the content of a message of a changelog (a compacted topic, change data capture).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedRow<K, T> {
    /// The message's key.
    pub key: K,
    /// The decoded payload; none in a tombstone, which means that the key was deleted.
    pub row: Option<T>,
    /// The timestamp of the message, which is the only event time of a deletion.
    pub timestamp: EventTime,
    /// The offset of the message. Of two changes of a key in one partition, the later one has the greater offset.
    pub offset: u64,
}

/// Returns a decoder for tables: it returns what `decode` makes of payloads, with their keys, and tombstones as
/// deletions. [`Changelog`](https://docs.rs/tidemill-operators) takes key and row as they are.
pub fn or_deleted<K: 'static, T: 'static>(
    key: impl Fn(&[u8]) -> Result<K, String> + Send + Sync + 'static,
    decode: impl Decode<T>,
) -> impl Decode<KeyedRow<K, T>> {
    move |message: Incoming<'_>| {
        let bytes = message.key().ok_or_else(|| NotDecoded::poison("it has no key"))?;
        let key = key(bytes).map_err(|reason| NotDecoded::poison(format!("its key: {reason}")))?;
        let row = message.payload().map(|_| decode.decode(message)).transpose()?;
        let timestamp = message.timestamp().ok_or_else(|| NotDecoded::poison("it has no timestamp"))?;
        let offset = u64::try_from(message.offset()).unwrap_or(0);
        Ok(KeyedRow { key, row, timestamp, offset })
    }
}

/// Returns a decoder as [`or_deleted`] does, for JSON payloads. `key` decodes keys: [`text_key`], [`json_key`], or a
/// function of your own.
pub fn json_or_deleted<K: 'static, T: DeserializeOwned + 'static>(
    key: impl Fn(&[u8]) -> Result<K, String> + Send + Sync + 'static,
) -> impl Decode<KeyedRow<K, T>> {
    or_deleted(key, json())
}

/// Decodes a key that is text.
///
/// # Errors
/// When the key is not UTF-8.
pub fn text_key(key: &[u8]) -> Result<String, String> {
    String::from_utf8(key.to_vec()).map_err(|error| error.to_string())
}

/// Decodes a key that is JSON.
///
/// # Errors
/// When the key is not a `K`.
pub fn json_key<K: DeserializeOwned>(key: &[u8]) -> Result<K, String> {
    Json::default().value(key).map_err(|error| error.to_string())
}

/// Returns a decoder that returns the bytes of payloads unchanged.
pub fn raw() -> impl Decode<Vec<u8>> {
    |message: Incoming<'_>| payload(message).map(<[u8]>::to_vec)
}
