//! How payloads become records: JSON, bytes as they are, rows of a changelog.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::decode::{Decode, Incoming, NotDecoded};

/// The bytes that a decoder reads.
pub(super) fn payload<'a>(message: Incoming<'a>) -> Result<&'a [u8], NotDecoded> {
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
        let timestamp = message.timestamp().ok_or_else(|| NotDecoded::poison("it has no timestamp"))?;
        let offset = u64::try_from(message.offset()).unwrap_or(0);
        Ok(KeyedRow { key, row, timestamp, offset })
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
