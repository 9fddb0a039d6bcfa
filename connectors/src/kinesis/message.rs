//! Records as a decoder sees them, and decoders.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tidemill_engine::EventTime;

use crate::json::Json;

/// A decoder, which turns records of a stream into records of the job.
pub(super) type Decode<T> = Arc<dyn Fn(KinesisRecord<'_>) -> Result<T, String> + Send + Sync>;
/// The event time of a record.
pub(super) type EventTimeOf<T> = Arc<dyn Fn(&T) -> EventTime + Send + Sync>;

/// A record as it is between the threads that fetch and the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) sequence: String,
    pub(super) partition_key: String,
    pub(super) data: Vec<u8>,
    /// When the service received it, in milliseconds since the Unix epoch.
    pub(super) arrived: i64,
}

impl Received {
    /// Returns the size that counts in the queue.
    pub(super) fn size(&self) -> usize {
        self.sequence.len() + self.partition_key.len() + self.data.len() + size_of::<Self>()
    }
}

/// A record of a stream as a decoder sees it. Of a record in which a producer (KPL) has put several, a decoder sees each of
/// those.
#[derive(Clone, Copy, Debug)]
pub struct KinesisRecord<'a> {
    pub(super) shard: &'a str,
    pub(super) sequence: &'a str,
    pub(super) partition_key: &'a str,
    pub(super) data: &'a [u8],
    pub(super) arrived: i64,
}

impl<'a> KinesisRecord<'a> {
    /// Returns the data.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Returns the partition key: records of one key keep their order.
    #[must_use]
    pub fn partition_key(&self) -> &'a str {
        self.partition_key
    }

    /// Returns the id of the shard from which the record was read.
    #[must_use]
    pub fn shard(&self) -> &'a str {
        self.shard
    }

    /// Returns the sequence number, which identifies a record within its shard. Those that a producer has put into one record
    /// share its number.
    #[must_use]
    pub fn sequence_number(&self) -> &'a str {
        self.sequence
    }

    /// Returns the approximate time at which the service received the record.
    #[must_use]
    pub fn arrival(&self) -> EventTime {
        EventTime(self.arrived)
    }
}

/// Returns a decoder of JSON.
pub fn json<T: DeserializeOwned + 'static>() -> impl Fn(KinesisRecord<'_>) -> Result<T, String> + Send + Sync + 'static
{
    let json = Json::default();
    move |record: KinesisRecord<'_>| json.value(record.data()).map_err(|error| error.to_string())
}

/// Returns a decoder that returns partition keys, and data unchanged.
pub fn raw() -> impl Fn(KinesisRecord<'_>) -> Result<(String, Vec<u8>), String> + Send + Sync + 'static {
    |record: KinesisRecord<'_>| Ok((record.partition_key().to_owned(), record.data().to_vec()))
}
