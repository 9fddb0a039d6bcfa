//! The marker: up to which epoch a worker's output is published. It is committed by the very transaction that
//! publishes, as the offset of a consumer group that belongs to the sink and the worker.
//!
//! ```text
//! group {prefix}.w{worker}, partition 0 of the output topic:   offset = epoch   metadata = incarnation
//! ```

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_engine::{ConnectorError, Epoch, ErrorKind};

use super::client::{ASK, ClientLog, Connection, failed};
use crate::outbox::Marked;

impl ConsumerContext for ClientLog {}

/// Reads and writes the marker of one worker.
pub(super) struct Marker {
    consumer: BaseConsumer<ClientLog>,
    topic: String,
    group: String,
    incarnation: u64,
}

impl Marker {
    pub(super) fn open(
        connection: &Connection,
        topic: &str,
        group: &str,
        incarnation: u64,
        log: ClientLog,
    ) -> Result<Self, ConnectorError> {
        // A marker that is being committed is waited for.
        let fixed = [
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("allow.auto.create.topics", "false"),
        ];
        let mut config = connection.config(&[], &fixed)?;
        config.set("group.id", group);
        let consumer = config.create_with_context(log).map_err(|e| failed("make a Kafka consumer", e))?;
        Ok(Self { consumer, topic: topic.to_owned(), group: group.to_owned(), incarnation })
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// Returns the marker that was committed last; none if there never was one.
    pub(super) fn read(&self) -> Result<Option<Marked>, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, 0);
        let answer = self.consumer.committed_offsets(list, ASK)?;
        let elements = answer.elements();
        let Some(element) = elements.first() else { return Ok(None) };
        element.error()?;
        let Offset::Offset(offset) = element.offset() else { return Ok(None) };
        let epoch = Epoch(u64::try_from(offset).unwrap_or(0));
        Ok(Some(Marked { epoch, begun: None, incarnation: incarnation_in(element.metadata()) }))
    }

    /// Returns the offsets and the group that a transaction commits to move the marker to `epoch`.
    pub(super) fn offsets(&self, epoch: Epoch) -> Result<(TopicPartitionList, ConsumerGroupMetadata), ConnectorError> {
        let mut list = TopicPartitionList::new();
        let offset = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        let metadata = format!("{INCARNATION}{:016x}", self.incarnation);
        let mut element = list.add_partition(&self.topic, 0);
        element.set_metadata(metadata);
        element.set_offset(Offset::Offset(offset)).map_err(|e| failed("set the marker", e))?;
        let group = self.consumer.group_metadata();
        let group =
            group.ok_or_else(|| ConnectorError::new(ErrorKind::Internal, "the marker's consumer has no group"))?;
        Ok((list, group))
    }

    pub(super) fn is_of_this_incarnation(&self, marked: &Marked) -> bool {
        marked.incarnation == Some(self.incarnation)
    }
}

const INCARNATION: &str = "tidemill incarnation ";

fn incarnation_in(metadata: &str) -> Option<u64> {
    metadata.strip_prefix(INCARNATION).and_then(|text| u64::from_str_radix(text, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_incarnation_is_read_back() {
        assert_eq!(incarnation_in(&format!("{INCARNATION}{:016x}", 77)), Some(77));
        assert_eq!(incarnation_in("somebody else's"), None);
    }
}
