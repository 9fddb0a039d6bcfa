//! The delivery of each message, and of all messages of an epoch.
//!
//! rdkafka's own `flush` is not used: it waits for all messages, including those of the next epoch, and checks only
//! every 100 ms.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::client::ClientLog;
use tidemill_engine::locks::lock;
use tidemill_engine::threads;

/// The default properties of producers. Messages are partitioned as Kafka's own clients do. The linger time is short,
/// because an epoch waits for it.
pub(super) const PRODUCER_DEFAULTS: [(&str, &str); 4] = [
    ("partitioner", "murmur2_random"),
    ("linger.ms", "2"),
    ("queue.buffering.max.kbytes", "131072"),
    // The longest time until a topic that was deleted and created again is noticed.
    ("topic.metadata.refresh.interval.ms", "30000"),
];

/// The interval between checks of whether all messages are delivered.
const LOOK: Duration = Duration::from_millis(1);

/// A message with the counter of its epoch.
pub(super) type Outbound<'a> = BaseRecord<'a, [u8], [u8], Undelivered>;

/// The number of messages of one epoch that are not acknowledged yet.
pub(super) type Undelivered = Arc<AtomicUsize>;

/// The producer's context, which librdkafka calls for each message that was delivered or failed.
#[derive(Clone)]
pub(super) struct Deliveries {
    log: ClientLog,
    first_error: Arc<Mutex<Option<KafkaError>>>,
}

impl Deliveries {
    pub(super) fn new(log: ClientLog) -> Self {
        Self { log, first_error: Arc::default() }
    }

    /// Returns the first delivery error, of any epoch.
    pub(super) fn error(&self) -> Option<KafkaError> {
        lock(&self.first_error).clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Undelivered;

    fn delivery(&self, result: &DeliveryResult<'_>, epoch: Undelivered) {
        if let Err((error, _)) = result {
            lock(&self.first_error).get_or_insert_with(|| error.clone());
        }
        epoch.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Passes `record` to librdkafka. Returns the record if librdkafka's queue is full.
pub(super) fn send<'a>(
    producer: &BaseProducer<Deliveries>,
    record: Outbound<'a>,
) -> Result<Option<Outbound<'a>>, KafkaError> {
    let epoch = Arc::clone(&record.delivery_opaque);
    epoch.fetch_add(1, Ordering::AcqRel);
    let Err((error, same)) = producer.send(record) else { return Ok(None) };
    epoch.fetch_sub(1, Ordering::AcqRel);
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) { Ok(Some(same)) } else { Err(error) }
}

/// Waits until every message of the epoch is acknowledged.
///
/// # Errors
/// When a message was not delivered, or some are still not acknowledged at `give_up`.
pub(super) fn settle(
    producer: &BaseProducer<Deliveries>,
    epoch: &Undelivered,
    give_up: Instant,
) -> Result<(), KafkaError> {
    loop {
        producer.poll(Duration::ZERO);
        if let Some(error) = producer.context().error() {
            return Err(error);
        }
        if epoch.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        if threads::now() > give_up {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        producer.poll(LOOK);
    }
}
