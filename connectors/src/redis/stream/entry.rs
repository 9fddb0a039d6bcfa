//! Entries of a stream as decoders see them, their ids, and decoders.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use tidemill_engine::EventTime;

use super::super::value;
use crate::json::Json;

/// A decoder, which turns entries into records.
pub(super) type Decode<T> = Arc<dyn Fn(StreamEntry<'_>) -> Result<T, String> + Send + Sync>;
/// The event time of a record.
pub(super) type EventTimeOf<T> = Arc<dyn Fn(&T) -> EventTime + Send + Sync>;

/// The id of an entry, `1767225600000-0`: a time of the server, and a number among the entries of that millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EntryId {
    /// Milliseconds since the Unix epoch, unless who added the entry has set something else.
    pub ms: u64,
    /// Number among the entries of that millisecond.
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = String;

    /// Parses `1767225600000-0`, or milliseconds alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        let number = |part: &str| part.parse().map_err(|_| format!("\"{text}\" is not the id of an entry"));
        Ok(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for EntryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An entry as it is between the thread that reads and the reader on the worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Returns the size that counts in the queue.
    pub(super) fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<Vec<u8>>());
        fields.sum::<usize>() + size_of::<Self>()
    }

    /// Returns the entry as a dead letter has it: an object of its fields as they are, where what is not UTF-8 is replaced.
    pub(super) fn content(&self) -> Vec<u8> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = self.fields.iter().map(|(name, value)| (text(name), text(value)));
        let mut content = Vec::new();
        // Nothing can go wrong with texts that are written to memory.
        let _ = serde_json::Serializer::new(&mut content).collect_map(pairs);
        content
    }
}

/// An entry as a decoder sees it.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    stream: &'a str,
    entry: &'a Entry,
}

impl<'a> StreamEntry<'a> {
    pub(super) fn new(stream: &'a str, entry: &'a Entry) -> Self {
        Self { stream, entry }
    }

    /// Returns the key of the stream.
    #[must_use]
    pub fn stream(&self) -> &'a str {
        self.stream
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.entry.id
    }

    /// Returns the value of the first field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    /// Returns all fields, in their order. A name may be there several times.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.entry.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }
}

/// Returns a decoder of entries whose fields are those of `T`, as `XADD` of a [`RedisSink`](crate::redis::RedisSink) writes
/// them: numbers and texts as they are, and JSON where they are nested.
pub fn stream_fields<T: DeserializeOwned + 'static>()
-> impl Fn(StreamEntry<'_>) -> Result<T, String> + Send + Sync + 'static {
    |entry: StreamEntry<'_>| value::row(entry.fields())
}

/// Returns a decoder of entries that have a record as JSON in one field.
pub fn stream_json<T: DeserializeOwned + 'static>(
    field: impl Into<String>,
) -> impl Fn(StreamEntry<'_>) -> Result<T, String> + Send + Sync + 'static {
    let (json, field) = (Json::default(), field.into());
    move |entry: StreamEntry<'_>| match entry.field(&field) {
        Some(value) => json.value(value).map_err(|error| error.to_string()),
        None => Err(format!("it has no field \"{field}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Entry { id: "5-1".parse().unwrap(), fields: fields.collect() }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Reading {
        sensor: String,
        celsius: f64,
    }

    #[test]
    fn ids_are_ordered_by_time_and_number_and_read_as_written() {
        let ids = ["0-0", "5-0", "5-10", "18446744073709551615-18446744073709551615"];
        let parsed: Vec<EntryId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        assert!(parsed.is_sorted() && parsed.iter().map(EntryId::to_string).eq(ids));
        assert_eq!("7".parse(), Ok(EntryId { ms: 7, seq: 0 }));
        assert!(["", "-", "a-1", "1-", "1-2-3", "$"].iter().all(|text| text.parse::<EntryId>().is_err()));
        let stored = serde_json::to_string(&parsed[2]).unwrap();
        assert_eq!((stored.as_str(), serde_json::from_str(&stored).unwrap()), ("\"5-10\"", parsed[2]));
    }

    #[test]
    fn fields_and_json_become_records_and_what_does_not_fit_is_said() {
        let wanted = Reading { sensor: "a".to_owned(), celsius: 1.5 };
        let plain = entry(&[("sensor", "a"), ("celsius", "1.5"), ("more", "x")]);
        assert_eq!(stream_fields::<Reading>()(StreamEntry::new("s", &plain)).unwrap(), wanted);
        let json = entry(&[("data", r#"{"sensor":"a","celsius":1.5}"#)]);
        assert_eq!(stream_json::<Reading>("data")(StreamEntry::new("s", &json)).unwrap(), wanted);
        let error = stream_json::<Reading>("data")(StreamEntry::new("s", &plain)).unwrap_err();
        assert_eq!(error, "it has no field \"data\"");
        let hot = entry(&[("sensor", "a"), ("celsius", "hot")]);
        let error = stream_fields::<Reading>()(StreamEntry::new("s", &hot)).unwrap_err();
        assert!(error.contains("field \"celsius\" is \"hot\""), "{error}");
        let twice = entry(&[("b", "1"), ("a", "\""), ("b", "2")]);
        assert_eq!(twice.content(), br#"{"b":"1","a":"\"","b":"2"}"#);
    }
}
