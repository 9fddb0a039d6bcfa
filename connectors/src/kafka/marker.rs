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

impl ConsumerContext for ClientLog {}

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// The epoch up to which everything is published.
    pub(super) epoch: Epoch,
    /// The start of the job that published it.
    pub(super) incarnation: Option<u64>,
}

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
        Ok(Some(Marked { epoch, incarnation: incarnation_in(element.metadata()) }))
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

/// The action of a restart for one worker's output, given its marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Publish the staged epochs after this one.
    PublishAfter(Epoch),
    /// The topic has output of epochs that this run has not reached.
    Ahead(Epoch),
    /// There is staged output, so there was a marker, and it is gone: it is unknown what was published.
    Lost,
}

/// Decides what a restart does, without I/O. `staged` is whether the checkpoint contains output of this worker;
/// `restored` is the epoch from which this run continues.
pub(super) fn plan(marked: Option<&Marked>, staged: bool, restored: Epoch) -> Recovery {
    match marked {
        None if staged => Recovery::Lost,
        None => Recovery::PublishAfter(Epoch(0)),
        Some(marked) if marked.epoch > restored => Recovery::Ahead(marked.epoch),
        Some(marked) => Recovery::PublishAfter(marked.epoch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64) -> Marked {
        Marked { epoch: Epoch(epoch), incarnation: Some(1) }
    }

    #[test]
    fn the_marker_decides_and_nothing_is_guessed() {
        assert_eq!(plan(Some(&at(5)), true, Epoch(7)), Recovery::PublishAfter(Epoch(5)));
        assert_eq!(plan(Some(&at(7)), true, Epoch(7)), Recovery::PublishAfter(Epoch(7)));
        assert_eq!(plan(Some(&at(8)), false, Epoch(7)), Recovery::Ahead(Epoch(8)));
        assert_eq!(plan(None, true, Epoch(7)), Recovery::Lost);
        assert_eq!(plan(None, false, Epoch(0)), Recovery::PublishAfter(Epoch(0)));
    }

    #[test]
    fn the_incarnation_is_read_back() {
        assert_eq!(incarnation_in(&format!("{INCARNATION}{:016x}", 77)), Some(77));
        assert_eq!(incarnation_in("somebody else's"), None);
    }
}
