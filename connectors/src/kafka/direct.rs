//! The at-least-once writer: an idempotent producer; an epoch is durable only once all of it was acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidemill_engine::sink::Staged;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::client::{Connection, Log, failed};
use super::outgoing::Outgoing;
use super::session::{Deliveries, PRODUCER_DEFAULTS};

/// Messages that may wait for their acknowledgement before the sink's input waits.
const IN_FLIGHT: i32 = 50_000;

/// The worker's side, shared with the checkpoint thread, which waits for acknowledgements.
pub(super) struct Writer {
    producer: Arc<BaseProducer<Deliveries>>,
    topic: Arc<str>,
    patience: Duration,
}

impl Writer {
    pub(super) fn open(
        connection: &Connection,
        topic: &str,
        patience: Duration,
        log: Log,
    ) -> Result<Self, ConnectorError> {
        let timeout = patience.as_millis().to_string();
        let fixed = [("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", timeout.as_str())];
        let config = connection.config(&PRODUCER_DEFAULTS, &fixed)?;
        let deliveries = Deliveries { log, first_error: Arc::default() };
        let producer = config.create_with_context(deliveries).map_err(|e| failed("make a Kafka producer", e))?;
        Ok(Self { producer: Arc::new(producer), topic: topic.into(), patience })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.producer.poll(Duration::ZERO);
        self.producer.in_flight_count() < IN_FLIGHT
    }

    pub(super) fn write(&mut self, message: &Outgoing) -> Result<(), ConnectorError> {
        if let Some(error) = self.producer.context().error() {
            return Err(undelivered(&self.topic, error));
        }
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        record.key = message.key.as_deref();
        record.payload = message.payload.as_deref();
        record.timestamp = message.timestamp_ms;
        if !message.headers.is_empty() {
            let add = |headers: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
                headers.insert(Header { key, value: Some(value) })
            };
            record.headers = Some(message.headers.iter().fold(OwnedHeaders::new(), add));
        }
        while let Err((error, same)) = self.producer.send(record) {
            // Many large messages fill librdkafka's memory before they are too many.
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(undelivered(&self.topic, error));
            }
            self.producer.poll(Duration::from_millis(1));
            if let Some(error) = self.producer.context().error() {
                return Err(undelivered(&self.topic, error));
            }
            record = same;
        }
        Ok(())
    }

    /// The token is empty: there is nothing to recover, a restore produces the epoch again.
    pub(super) fn stage(&self) -> Staged {
        let (producer, topic, patience) = (Arc::clone(&self.producer), Arc::clone(&self.topic), self.patience);
        let flush = move || {
            let give_up = Instant::now() + patience + Duration::from_secs(5);
            loop {
                let result = producer.flush(Duration::from_secs(1));
                if let Some(error) = producer.context().error() {
                    return Err(undelivered(&topic, error));
                }
                match result {
                    Ok(()) => return Ok(()),
                    Err(error) if Instant::now() > give_up => return Err(undelivered(&topic, error)),
                    Err(_) => {}
                }
            }
        };
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
