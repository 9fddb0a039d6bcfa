//! What a decoder sees of a message, and what it may make of it.

use rdkafka::message::{BorrowedMessage, Headers, Message};
use tidemill_engine::{ConnectorError, EventTime};

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

    /// Returns when the producer made it, or the broker took it, as the topic is set.
    #[must_use]
    pub fn timestamp(&self) -> Option<EventTime> {
        self.message.timestamp().to_millis().map(EventTime)
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
#[non_exhaustive]
pub enum NotDecoded {
    /// It never will be: it becomes a dead letter with this reason.
    Poison(String),
    /// It says that its key was deleted, and the decoder makes nothing of that: a dead letter that is no fault.
    Tombstone,
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
