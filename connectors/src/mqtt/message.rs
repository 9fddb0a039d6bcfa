//! Messages as a decoder sees them, and decoders.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tidemill_engine::EventTime;

use crate::json::Json;

/// A decoder, which turns messages into records.
pub(super) type Decode<T> = Arc<dyn Fn(MqttMessage<'_>) -> Result<T, String> + Send + Sync>;
/// The event time of a record.
pub(super) type EventTimeOf<T> = Arc<dyn Fn(&T) -> EventTime + Send + Sync>;

/// A message as it is between the client's thread and the reader.
pub(super) struct Received {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    pub(super) retained: bool,
    /// The packet id; 0 for a message of QoS 0.
    pub(super) id: u16,
    pub(super) user_properties: Vec<(String, String)>,
    pub(super) content_type: Option<String>,
}

/// A message as a decoder sees it.
#[derive(Clone, Copy)]
pub struct MqttMessage<'a> {
    received: &'a Received,
    topic: &'a str,
}

impl<'a> MqttMessage<'a> {
    pub(super) fn new(received: &'a Received, topic: &'a str) -> Self {
        Self { received, topic }
    }

    /// Returns the topic to which the message was published.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.received.payload
    }

    /// Returns whether the broker had retained the message: it was there before the subscription.
    #[must_use]
    pub fn is_retained(&self) -> bool {
        self.received.retained
    }

    /// Returns the value of the first user property of this name.
    #[must_use]
    pub fn user_property(&self, name: &str) -> Option<&'a str> {
        self.received.user_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the content type that the publisher has stated.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        self.received.content_type.as_deref()
    }
}

impl Received {
    /// Returns a hash of what the publisher has sent: the same for each delivery of a message, in each version of Tidemill,
    /// since checkpoints have it. It has 48 bits: beside a packet id it fits into a number. What brokers change from one
    /// delivery to the next (the remaining expiry interval) is left out.
    pub(super) fn fingerprint(&self) -> u64 {
        // FNV-1a. A length before each part keeps parts from running into one another.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |part: &[u8]| {
            for byte in (part.len() as u64).to_le_bytes().iter().chain(part) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        add(&self.topic);
        add(&self.payload);
        for (name, value) in &self.user_properties {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        (hash >> 16) ^ (hash & 0xffff)
    }

    /// Returns the size that counts in the queue.
    pub(super) fn size(&self) -> usize {
        let properties = self.user_properties.iter().map(|(name, value)| name.len() + value.len());
        self.topic.len() + self.payload.len() + properties.sum::<usize>() + size_of::<Self>()
    }
}

/// Returns a decoder of JSON payloads.
pub fn json<T: DeserializeOwned + 'static>() -> impl Fn(MqttMessage<'_>) -> Result<T, String> + Send + Sync + 'static {
    let json = Json::default();
    move |message: MqttMessage<'_>| json.value(message.payload()).map_err(|error| error.to_string())
}

/// Returns a decoder that returns topics, and payloads unchanged.
pub fn raw() -> impl Fn(MqttMessage<'_>) -> Result<(String, Vec<u8>), String> + Send + Sync + 'static {
    |message: MqttMessage<'_>| Ok((message.topic().to_owned(), message.payload().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &'static str, payload: &'static str, properties: &[(&str, &str)]) -> Received {
        let user_properties =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (topic, payload) = (Bytes::from_static(topic.as_bytes()), Bytes::from_static(payload.as_bytes()));
        Received { topic, payload, retained: false, id: 1, user_properties, content_type: None }
    }

    #[test]
    fn a_fingerprint_is_of_all_that_was_sent_and_stays_the_same() {
        let base = message("a", "bc", &[]);
        assert_eq!(base.fingerprint(), 0xba1e_1f0e_dfee, "checkpoints have it: it must not change");
        for other in [message("ab", "c", &[]), message("a", "bd", &[]), message("a", "bc", &[("k", "v")])] {
            assert!(other.fingerprint() != base.fingerprint() && other.fingerprint() < 1 << 48);
        }
        let split = [message("a", "b", &[("kv", "")]), message("a", "b", &[("k", "v")])];
        assert_ne!(split[0].fingerprint(), split[1].fingerprint());
    }
}
