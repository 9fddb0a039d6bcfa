//! The interface of decoders: the message that a decoder sees, and the results it may return.

use rdkafka::message::{BorrowedMessage, Headers, Message};
use tidemill_engine::{ConnectorError, EventTime};

/// A Kafka message as a decoder sees it.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    message: &'a BorrowedMessage<'a>,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(message: &'a BorrowedMessage<'a>) -> Self {
        Self { message }
    }

    /// Returns the topic from which the message was read.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.message.topic()
    }

    /// Returns the partition from which the message was read.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Returns the offset of the message in its partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Returns the time when the producer created the message or when the broker appended it, as the topic is
    /// configured.
    #[must_use]
    pub fn timestamp(&self) -> Option<EventTime> {
        self.message.timestamp().to_millis().map(EventTime)
    }

    /// Returns the key of the message.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key()
    }

    /// Returns the payload of the message; a tombstone has none.
    #[must_use]
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.message.payload()
    }

    /// Returns the value of the first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let headers = self.message.headers()?;
        headers.iter().find(|header| header.key == name).and_then(|header| header.value)
    }
}

/// The reason why a message does not become a record.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotDecoded {
    /// The message can never be decoded: it becomes a dead letter with this reason.
    Poison(String),
    /// The message says that its key was deleted, and the decoder makes no record of that. It becomes a dead letter
    /// that does not count as malformed.
    Tombstone,
    /// A service that decoding needs (a schema registry) is not available: the job stops and can be restored.
    Stop(ConnectorError),
}

impl NotDecoded {
    /// Returns [`NotDecoded::Poison`] with this reason.
    pub fn poison(reason: impl std::fmt::Display) -> Self {
        Self::Poison(reason.to_string())
    }
}

/// A decoder, which turns messages into records. All workers of a process share it; closures are decoders.
pub trait Decode<T>: Send + Sync + 'static {
    /// Decodes one message. It may call a registry the first time it meets a schema, and must not block otherwise.
    ///
    /// # Errors
    /// When the message is not a `T`.
    fn decode(&self, message: Incoming<'_>) -> Result<T, NotDecoded>;
}

impl<T, F: Fn(Incoming<'_>) -> Result<T, NotDecoded> + Send + Sync + 'static> Decode<T> for F {
    fn decode(&self, message: Incoming<'_>) -> Result<T, NotDecoded> {
        self(message)
    }
}
