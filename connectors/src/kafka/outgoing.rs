//! A message to be produced, and its encoding. The encoded bytes are staged in the delta, and messages are produced
//! from the same bytes.
//!
//! ```text
//! message = key · payload · timestamp i64 · number of headers u16 · (name · value)*
//! number of headers 65,535 = the number follows as u64
//! each of key, payload, name, value = length i32 (−1: none) · bytes            all little-endian
//! ```
//! An i32 is enough for every length: librdkafka accepts no message of more than 1,000,000,000 bytes, and a sink
//! accepts none that is larger than its topic allows.

use std::sync::Arc;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tidemill_engine::EventTime;

use super::deliveries::{Outbound, Undelivered};

/// A message to be produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The key, which determines the partition; messages of the same key stay in order.
    pub key: Option<Vec<u8>>,
    /// The content; a message without it is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The timestamp of the message. Default: the time when it is produced.
    pub timestamp: Option<EventTime>,
    /// The names and values of the headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

const NO_TIMESTAMP: i64 = i64::MIN;
/// Marks that the number of headers follows as a u64: a message of less than a megabyte can have more headers than a
/// u16 counts.
const MANY_HEADERS: u16 = u16::MAX;

impl Outgoing {
    /// Empties the message for the next record.
    pub(super) fn clear(&mut self) {
        self.key = None;
        self.payload = None;
        self.timestamp = None;
        self.headers.clear();
    }

    /// Returns the approximate size of the message in a request, in bytes.
    pub(super) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, Vec::len) + headers + 70
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let Self { key, payload, timestamp, headers } = self;
        put(into, key.as_deref());
        put(into, payload.as_deref());
        into.extend(timestamp.map_or(NO_TIMESTAMP, |at| at.0).to_le_bytes());
        match u16::try_from(headers.len()) {
            Ok(count) if count < MANY_HEADERS => into.extend(count.to_le_bytes()),
            _ => {
                into.extend(MANY_HEADERS.to_le_bytes());
                into.extend((headers.len() as u64).to_le_bytes());
            }
        }
        for (name, value) in headers {
            put(into, Some(name.as_bytes()));
            put(into, Some(value));
        }
    }
}

fn put(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let len = bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    into.extend(len.to_le_bytes());
    into.extend(bytes.unwrap_or_default());
}

/// A message that borrows from its encoding in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) payload: Option<&'a [u8]>,
    timestamp_ms: Option<i64>,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> From<&'a Outgoing> for Message<'a> {
    fn from(message: &'a Outgoing) -> Self {
        Self {
            key: message.key.as_deref(),
            payload: message.payload.as_deref(),
            timestamp_ms: message.timestamp.map(|at| at.0),
            headers: message.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        }
    }
}

impl<'a> Message<'a> {
    /// Returns the record for librdkafka, which copies it.
    pub(super) fn record(&self, topic: &'a str, epoch: &Undelivered) -> Outbound<'_> {
        let mut record = BaseRecord::with_opaque_to(topic, Arc::clone(epoch));
        record.key = self.key;
        record.payload = self.payload;
        record.timestamp = self.timestamp_ms;
        if !self.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(self.headers.len());
            let add = |headers: OwnedHeaders, (key, value): &(&str, &[u8])| {
                headers.insert(Header { key, value: Some(*value) })
            };
            record.headers = Some(self.headers.iter().fold(headers, add));
        }
        record
    }
}

/// Returns the messages of a chunk, in order. `None` in place of a message means that the bytes are damaged there;
/// nothing follows it.
pub(super) fn messages(mut chunk: &[u8]) -> impl Iterator<Item = Option<Message<'_>>> {
    std::iter::from_fn(move || {
        if chunk.is_empty() {
            return None;
        }
        let message = take_message(&mut chunk);
        if message.is_none() {
            chunk = &[];
        }
        Some(message)
    })
}

fn take_message<'a>(from: &mut &'a [u8]) -> Option<Message<'a>> {
    let (key, payload) = (take(from)?, take(from)?);
    let timestamp = i64::from_le_bytes(take_array(from)?);
    let count = match u16::from_le_bytes(take_array(from)?) {
        MANY_HEADERS => u64::from_le_bytes(take_array(from)?),
        count => count.into(),
    };
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((std::str::from_utf8(take(from)??).ok()?, take(from)??));
    }
    Some(Message { key, payload, timestamp_ms: (timestamp != NO_TIMESTAMP).then_some(timestamp), headers })
}

fn take<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match i32::from_le_bytes(take_array(from)?) {
        -1 => Some(None),
        len => {
            let (bytes, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
            *from = rest;
            Some(Some(bytes))
        }
    }
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outgoing() -> impl Strategy<Value = Outgoing> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        let headers = prop::collection::vec(("[a-z]{0,8}", bytes()), 0..4);
        (prop::option::of(bytes()), prop::option::of(bytes()), prop::option::of(0..i64::MAX), headers).prop_map(
            |(key, payload, timestamp, headers)| Outgoing {
                key,
                payload,
                timestamp: timestamp.map(EventTime),
                headers,
            },
        )
    }

    #[test]
    fn all_headers_come_out_however_many_there_are() {
        for count in [0, 1, 65_534, 65_535, 65_536, 70_000] {
            let headers: Vec<_> = (0..count).map(|n: u32| (String::new(), n.to_le_bytes().to_vec())).collect();
            let message = Outgoing { headers, ..Outgoing::default() };
            let mut chunk = Vec::new();
            message.encode(&mut chunk);
            Outgoing::default().encode(&mut chunk);
            let out: Vec<Message<'_>> = messages(&chunk).map(|message| message.expect("not damaged")).collect();
            assert_eq!(out.len(), 2, "with {count} headers");
            assert_eq!(out[0], Message::from(&message), "with {count} headers");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(all in prop::collection::vec(outgoing(), 0..20)) {
            let mut chunk = Vec::new();
            all.iter().for_each(|message| message.encode(&mut chunk));
            let out: Vec<Message<'_>> = messages(&chunk).map(|message| message.expect("not damaged")).collect();
            prop_assert_eq!(out.len(), all.len());
            for (out, message) in out.iter().zip(&all) {
                prop_assert_eq!(out.key, message.key.as_deref());
                prop_assert_eq!(out.payload, message.payload.as_deref());
                prop_assert_eq!(out.timestamp_ms, message.timestamp.map(|at| at.0));
                let headers: Vec<_> = message.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
                prop_assert_eq!(&out.headers, &headers);
            }
        }

        #[test]
        fn reading_any_bytes_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
        }

        #[test]
        fn a_chunk_that_was_cut_says_so(message in outgoing(), cut in any::<prop::sample::Index>()) {
            let mut chunk = Vec::new();
            message.encode(&mut chunk);
            chunk.truncate(1 + cut.index(chunk.len() - 1));
            prop_assume!(chunk.len() < { let mut whole = Vec::new(); message.encode(&mut whole); whole.len() });
            prop_assert!(messages(&chunk).any(|message| message.is_none()));
        }
    }
}
