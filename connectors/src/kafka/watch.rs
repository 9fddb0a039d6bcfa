//! What librdkafka says of the partitions, from its threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use tidemill_engine::Clock;
use tidemill_engine::metrics::Counter;
use tidemill_engine::source::{SourceContext, Waker};

use super::client;
use super::identity::TopicIds;
use super::partition::BrokersWord;
use super::position::PartitionId;

/// Hears what librdkafka has to say about the partitions.
pub(super) struct Watch {
    clock: Clock,
    words: Mutex<BTreeMap<PartitionId, BrokersWord>>,
    errors: Counter,
    waker: Waker,
    pub(super) topic_ids: TopicIds,
}

impl Watch {
    pub(super) fn new(context: &SourceContext) -> Self {
        Self {
            clock: context.clock.clone(),
            words: Mutex::default(),
            errors: context.metrics.counter("broker_errors"),
            waker: context.waker.clone(),
            topic_ids: TopicIds::default(),
        }
    }

    /// The last word on each partition.
    pub(super) fn words(&self) -> MutexGuard<'_, BTreeMap<PartitionId, BrokersWord>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.topic_ids.hear(message);
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is told as an error.
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
            self.errors.add(1);
            tracing::warn!(%error, reason, "Kafka");
        }
    }

    fn stats(&self, statistics: Statistics) {
        let connected: BTreeSet<i32> =
            statistics.brokers.values().filter(|broker| broker.state == "UP").map(|broker| broker.nodeid).collect();
        let at = self.clock.now();
        let mut words = self.words();
        for topic in statistics.topics.values() {
            for (number, partition) in &topic.partitions {
                let id = PartitionId { topic: topic.topic.clone(), partition: *number };
                // Only what is committed can be read.
                let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
                let fetched = partition.next_offset;
                let connected = connected.contains(&partition.leader) && end >= 0;
                words.insert(id, BrokersWord { fetched, end, connected, at });
            }
        }
        self.waker.wake();
    }
}

impl ConsumerContext for Watch {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed to the group; only lag monitors miss them");
        }
    }
}
