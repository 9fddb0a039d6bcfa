//! The at-least-once writer: an idempotent producer. An epoch is durable only once all its messages are acknowledged.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use tidemill_engine::sink::Staged;
use tidemill_engine::threads;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::client::{ClientLog, Connection, failed};
use super::deliveries::{Deliveries, PRODUCER_DEFAULTS, Undelivered, send, settle};
use super::identity;
use super::outgoing::{Message, Outgoing};

/// Number of unacknowledged messages at which the sink's input has to wait.
const IN_FLIGHT: i32 = 50_000;

/// The writer of a worker. The checkpoint thread, which waits for acknowledgements, shares its producer.
pub(super) struct Writer {
    producer: Arc<BaseProducer<Deliveries>>,
    topic: Arc<str>,
    epoch: Undelivered,
    patience: Duration,
}

impl Writer {
    pub(super) fn open(
        connection: &Connection,
        topic: &str,
        patience: Duration,
        log: ClientLog,
    ) -> Result<Self, ConnectorError> {
        let timeout = patience.as_millis().to_string();
        let fixed = [("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", timeout.as_str())];
        let mut config = connection.config(&PRODUCER_DEFAULTS, &fixed)?;
        identity::listen(&mut config);
        let producer =
            config.create_with_context(Deliveries::new(log)).map_err(|e| failed("make a Kafka producer", e))?;
        Ok(Self { producer: Arc::new(producer), topic: topic.into(), epoch: Undelivered::default(), patience })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.producer.poll(Duration::ZERO);
        self.producer.in_flight_count() < IN_FLIGHT
    }

    pub(super) fn write(&mut self, message: &Outgoing) -> Result<(), ConnectorError> {
        if let Some(error) = self.producer.context().error() {
            return Err(undelivered(&self.topic, error));
        }
        let message = Message::from(message);
        let mut record = message.record(&self.topic, &self.epoch);
        // Large messages may fill librdkafka's queue before there are `IN_FLIGHT` of them.
        while let Some(same) = send(&self.producer, record).map_err(|e| undelivered(&self.topic, e))? {
            self.producer.poll(Duration::from_millis(1));
            if let Some(error) = self.producer.context().error() {
                return Err(undelivered(&self.topic, error));
            }
            record = same;
        }
        Ok(())
    }

    /// Stages the epoch. The token is empty, because there is nothing to recover: a restore produces the epoch again.
    pub(super) fn stage(&mut self) -> Staged {
        let (producer, topic) = (Arc::clone(&self.producer), Arc::clone(&self.topic));
        let epoch = std::mem::take(&mut self.epoch);
        let patience = self.patience + Duration::from_secs(5);
        let flush =
            move || settle(&producer, &epoch, threads::now() + patience).map_err(|error| undelivered(&topic, error));
        Staged { token: Vec::new(), flush: Box::new(flush), publish: Box::new(|| Ok(())) }
    }
}

fn undelivered(topic: &str, error: KafkaError) -> ConnectorError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageTimedOut) => ConnectorError::caused(
            ErrorKind::Unavailable,
            format!(
                "no broker acknowledged messages to topic \"{topic}\" in time: run the job again when Kafka is there"
            ),
            error,
        ),
        _ => failed(format!("produce to topic \"{topic}\""), error),
    }
}
