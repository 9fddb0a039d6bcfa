//! The consumer's context, which receives librdkafka's events about the partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use tidemill_engine::locks::lock;
use tidemill_engine::metrics::Counter;
use tidemill_engine::source::{SourceContext, Waker};
use tidemill_engine::{Clock, ConnectorError};

use super::client;
use super::identity::TopicIds;
use super::partition::BrokersWord;
use super::position::PartitionId;

/// The context of a consumer: it receives librdkafka's log, errors, statistics and commit results.
pub(super) struct ConsumerWatch {
    clock: Clock,
    words: Mutex<BTreeMap<PartitionId, BrokersWord>>,
    errors: Counter,
    waker: Waker,
    pub(super) topic_ids: TopicIds,
    /// Number of events that were taken from the consumer's queue.
    events: AtomicU64,
}

impl ConsumerWatch {
    pub(super) fn new(context: &SourceContext) -> Self {
        Self {
            clock: context.clock.clone(),
            words: Mutex::default(),
            errors: context.metrics.counter("broker_errors"),
            waker: context.waker.clone(),
            topic_ids: TopicIds::default(),
            events: AtomicU64::new(0),
        }
    }

    fn count(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the newest statistics of each partition.
    pub(super) fn words(&self) -> MutexGuard<'_, BTreeMap<PartitionId, BrokersWord>> {
        lock(&self.words)
    }
}

impl ClientContext for ConsumerWatch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.count();
        self.topic_ids.hear(message);
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.count();
        // The end of a partition is reported as an error.
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
            self.errors.add(1);
            tracing::warn!(%error, reason, "librdkafka reports an error");
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.count();
        let connected: BTreeSet<i32> =
            statistics.brokers.values().filter(|broker| broker.state == "UP").map(|broker| broker.nodeid).collect();
        let at = self.clock.now();
        let mut words = self.words();
        for topic in statistics.topics.values() {
            for (number, partition) in &topic.partitions {
                let id = PartitionId { topic: topic.topic.clone(), partition: *number };
                // Only committed messages can be read, so the end is the last stable offset.
                let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
                let fetched = partition.next_offset;
                let connected = connected.contains(&partition.leader) && end >= 0;
                words.insert(id, BrokersWord { fetched, end, connected, at });
            }
        }
        self.waker.wake();
    }
}

impl ConsumerContext for ConsumerWatch {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.count();
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed to the group; only lag monitors miss them");
        }
    }
}

/// Polls the consumer until its queue is empty. Its log, errors, statistics and commit results go to its
/// [`ConsumerWatch`]; everything else goes to `other`.
pub(super) fn take_events(
    consumer: &BaseConsumer<ConsumerWatch>,
    mut other: impl FnMut(KafkaResult<BorrowedMessage<'_>>) -> Result<(), ConnectorError>,
) -> Result<(), ConnectorError> {
    use rdkafka::consumer::Consumer;
    loop {
        let before = consumer.context().events.load(Ordering::Relaxed);
        match consumer.poll(Duration::ZERO) {
            Some(event) => other(event)?,
            // rdkafka also returns nothing after an event that went to the context: the queue is empty only if the
            // count of events did not change.
            None if consumer.context().events.load(Ordering::Relaxed) == before => return Ok(()),
            None => {}
        }
    }
}
