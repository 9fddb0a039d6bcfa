//! How a message becomes a record.

use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde::de::DeserializeOwned;
use tidemill_engine::ConnectorError;

/// A message as a decoder sees it.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    message: &'a BorrowedMessage<'a>,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(message: &'a BorrowedMessage<'a>) -> Self {
        Self { message }
    }

    /// The topic it was read from.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.message.topic()
    }

    /// The partition it was read from.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Its offset there.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Milliseconds since the Unix epoch: when the producer made it, or the broker took it, as the topic is set.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp().to_millis()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key()
    }

    /// Its payload; none in a tombstone.
    #[must_use]
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.message.payload()
    }

    /// The value of its first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let headers = self.message.headers()?;
        headers.iter().find(|header| header.key == name).and_then(|header| header.value)
    }
}

/// Why a message is no record.
#[derive(Debug)]
pub enum NotDecoded {
    /// It never will be: it becomes a dead letter with this reason.
    Poison(String),
    /// What is needed to decode it (a schema registry) is not to be had: the job stops and can be restored.
    Stop(ConnectorError),
}

impl NotDecoded {
    /// The message is at fault.
    pub fn poison(reason: impl std::fmt::Display) -> Self {
        Self::Poison(reason.to_string())
    }
}

/// Turns messages into records. Shared by all workers of a process; closures are decoders.
pub trait Decode<T>: Send + Sync + 'static {
    /// Decodes one message. It may call a registry the first time it meets a schema, and must not block otherwise.
    ///
    /// # Errors
    /// When the message is no `T`.
    fn decode(&self, message: Incoming<'_>) -> Result<T, NotDecoded>;
}

impl<T, F: Fn(Incoming<'_>) -> Result<T, NotDecoded> + Send + Sync + 'static> Decode<T> for F {
    fn decode(&self, message: Incoming<'_>) -> Result<T, NotDecoded> {
        self(message)
    }
}

fn payload<'a>(message: Incoming<'a>) -> Result<&'a [u8], NotDecoded> {
    message.payload().ok_or_else(|| NotDecoded::poison("it has no payload (a tombstone)"))
}

/// Payloads of JSON.
pub fn json<T: DeserializeOwned + 'static>() -> impl Decode<T> {
    |message: Incoming<'_>| serde_json::from_slice(payload(message)?).map_err(NotDecoded::poison)
}

/// Payloads as they are.
pub fn raw() -> impl Decode<Vec<u8>> {
    |message: Incoming<'_>| payload(message).map(<[u8]>::to_vec)
}
