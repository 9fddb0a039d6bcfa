//! Writes an example's input, simulated or from CSV files, at a set rate to a topic.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde::Serialize;
use tidemill::kafka::KafkaUrl;
use tidemill::prelude::*;

/// Counts the messages that the brokers did not accept.
#[derive(Default)]
struct Lost(std::sync::atomic::AtomicU64);

impl rdkafka::ClientContext for Lost {}

impl ProducerContext for Lost {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result
            && self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0
        {
            eprintln!("a message was not delivered: {error}");
        }
    }
}

/// Produces each record as JSON. With a rate it is open loop: record `i` is due `i / rate` after the start, and a late
/// record does not delay the next ones. Prints the start time, in microseconds since the Unix epoch.
pub fn to_topic<R: Serialize>(
    url: &KafkaUrl,
    rate: Option<f64>,
    start_at_us: Option<u64>,
    records: impl Iterator<Item = R>,
    key: impl Fn(&R) -> String,
) -> Result<(), JobError> {
    let failed = |e: rdkafka::error::KafkaError| JobError::Invalid(format!("cannot produce to {url}: {e}"));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &url.connection.brokers).set("enable.idempotence", "true");
    config.set("partitioner", "murmur2_random").set("linger.ms", "2").set("allow.auto.create.topics", "false");
    for (name, value) in &url.connection.properties {
        config.set(name, value);
    }
    let producer: ThreadedProducer<Lost> = config.create_with_context(Lost::default()).map_err(failed)?;
    producer.client().fetch_metadata(Some(&url.topic), Duration::from_secs(30)).map_err(failed)?;

    let clock = Clock::system();
    let ahead_us = start_at_us.map_or(0, |start| start.saturating_sub(clock.now().0));
    wait_until(Instant::now() + Duration::from_micros(ahead_us));
    println!("started_us {}", clock.now().0);
    let (started, mut count) = (Instant::now(), 0_u64);
    for record in records {
        if let Some(rate) = rate {
            wait_until(started + Duration::from_secs_f64(count as f64 / rate));
        }
        let (key, payload) = (key(&record), serde_json::to_vec(&record).map_err(JobError::setup)?);
        let mut message = BaseRecord::to(&url.topic).key(&key).payload(&payload);
        while let Err((error, same)) = producer.send(message) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failed(error));
            }
            wait_until(Instant::now() + Duration::from_millis(1));
            message = same;
        }
        count += 1;
    }
    producer.flush(Duration::from_secs(300)).map_err(failed)?;
    let lost = producer.context().0.load(std::sync::atomic::Ordering::Relaxed);
    println!("produced {count} in {:.1} s", started.elapsed().as_secs_f64());
    if lost > 0 {
        return Err(JobError::Invalid(format!("{lost} of {count} messages were not delivered to {url}")));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a load generator has nothing else to do")]
fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    // At least a millisecond: records that become due meanwhile are sent together. Shorter sleeps would keep a CPU
    // busy.
    if !left.is_zero() {
        std::thread::sleep(left.max(Duration::from_millis(1)));
    }
}
