//! Checks of limits. Settings that cannot work are refused before the first record, with both numbers in the message.

use std::ops::RangeInclusive;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tidemill_engine::{ConnectorError, ErrorKind, Remedy};

use super::client::{ClientLog, failed, metadata};
use super::settings::{Delivery, SinkSettings};

/// librdkafka's default of `message.max.bytes`.
const CLIENT_LIMIT: usize = 1_000_000;
/// Number of bytes that a batch adds to a message.
const OVERHEAD: usize = 100;

/// The allowed range of `patience`: librdkafka counts milliseconds in an i32, and treats 0 as no limit.
const PATIENCE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(i32::MAX as u64);

/// Checks everything that the settings alone decide.
pub(super) fn check_settings(settings: &SinkSettings, interval: Option<Duration>) -> Result<(), ConnectorError> {
    if !PATIENCE.contains(&settings.patience) {
        let SinkSettings { topic, patience, .. } = settings;
        let (least, most) = (PATIENCE.start(), PATIENCE.end());
        let message = format!("patience in writing to topic \"{topic}\" is {patience:?}: give {least:?} to {most:?}");
        return Err(ConnectorError::new(ErrorKind::Invalid, message));
    }
    if settings.delivery == Delivery::AtLeastOnce {
        return Ok(());
    }
    let refuse = |message: String| Err(ConnectorError::new(ErrorKind::Invalid, message));
    let topic = &settings.topic;
    let Some(interval) = interval else {
        let message = format!(
            "writing to topic \"{topic}\" exactly once needs checkpoints (checkpoint_dir): or write at least once"
        );
        let error = ConnectorError::new(ErrorKind::Invalid, message);
        return Err(error.remedy(Remedy::Setting("checkpoint_dir")));
    };
    let timeout = settings.transaction_timeout;
    if interval * 2 > timeout {
        return refuse(format!(
            "a transaction of topic \"{topic}\" is open for an epoch and until it is committed, up to twice the checkpoint interval of {} ms, but times out after {} ms: lengthen the transaction time-out, or shorten the checkpoint interval",
            interval.as_millis(),
            timeout.as_millis()
        ));
    }
    Ok(())
}

/// Checks with the cluster that the topic exists and that transactions may last as long as the settings ask.
pub(super) fn check_cluster(settings: &SinkSettings) -> Result<(), ConnectorError> {
    let config = settings.connection.config(&[], &[("allow.auto.create.topics", "false")])?;
    let client: BaseConsumer<ClientLog> =
        config.create_with_context(ClientLog::default()).map_err(|e| failed("make a Kafka client", e))?;
    let topic = &settings.topic;
    let metadata =
        metadata(client.client(), Some(topic)).map_err(|e| failed(format!("look for topic \"{topic}\""), e))?;
    if !metadata.topics().iter().any(|found| found.error().is_none() && !found.partitions().is_empty()) {
        let message = format!("there is no topic \"{topic}\" to write to: create it, or correct the name");
        return Err(ConnectorError::new(ErrorKind::Invalid, message));
    }
    if settings.delivery == Delivery::AtLeastOnce {
        return Ok(());
    }
    let Some(broker) = metadata.brokers().first().map(|broker| broker.id()) else { return Ok(()) };
    let most = number(settings, &ResourceSpecifier::Broker(broker), "transaction.max.timeout.ms")?;
    let timeout = settings.transaction_timeout.as_millis();
    match most {
        Some(most) if timeout > u128::from(most) => Err(ConnectorError::new(
            ErrorKind::Invalid,
            format!(
                "the transaction time-out of {timeout} ms is above the broker's transaction.max.timeout.ms of {most} ms: lower it, or raise the broker's"
            ),
        )),
        _ => Ok(()),
    }
}

/// Returns the size of the largest message that both the topic and the client accept.
pub(super) fn largest_message(settings: &SinkSettings) -> Result<usize, ConnectorError> {
    let own = settings.connection.properties.iter().find(|(name, _)| name == "message.max.bytes");
    let client = own.and_then(|(_, value)| value.parse().ok()).unwrap_or(CLIENT_LIMIT);
    let topic = number(settings, &ResourceSpecifier::Topic(&settings.topic), "max.message.bytes")?;
    let topic = topic.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    Ok(client.min(topic).saturating_sub(OVERHEAD))
}

pub(super) fn too_large(topic: &str, size: usize, largest: usize) -> ConnectorError {
    ConnectorError::new(
        ErrorKind::Invalid,
        format!(
            "a record of {size} bytes is too large for topic \"{topic}\", which takes {largest}: raise max.message.bytes of the topic and message.max.bytes of the connection, or filter such records out"
        ),
    )
}

/// Returns the number in a setting of a broker or topic. `None` if the program may not read it or the broker does not
/// report it.
fn number(settings: &SinkSettings, of: &ResourceSpecifier<'_>, name: &str) -> Result<Option<u64>, ConnectorError> {
    let config = settings.connection.config(&[], &[])?;
    let admin: AdminClient<ClientLog> =
        config.create_with_context(ClientLog::default()).map_err(|e| failed("make a Kafka client", e))?;
    // Not every cluster answers this request. A value above a limit is then refused by the broker itself.
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
    let answer = pollster::block_on(admin.describe_configs([of], &options));
    let described: Option<ConfigResource> = answer.ok().and_then(|all| all.into_iter().next()).and_then(Result::ok);
    if described.is_none() {
        tracing::debug!(?of, name, "the cluster does not report the setting");
    }
    let value = described.as_ref().and_then(|config| config.get(name)).and_then(|entry| entry.value.clone());
    Ok(value.and_then(|value| value.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::client::Connection;
    use crate::outbox::LostMarker;

    fn settings(delivery: Delivery, timeout: Duration) -> SinkSettings {
        SinkSettings {
            connection: Connection::new("a:1"),
            topic: "alerts".to_owned(),
            delivery,
            prefix: None,
            transaction_timeout: timeout,
            patience: Duration::from_secs(1),
            lost_marker: LostMarker::Refuse,
        }
    }

    #[test]
    fn timeouts_that_cannot_work_are_refused_with_both_numbers() {
        let settings = settings(Delivery::ExactlyOnce, Duration::from_secs(3));
        assert!(check_settings(&settings, Some(Duration::from_millis(1500))).is_ok());
        let error = check_settings(&settings, Some(Duration::from_millis(1501))).unwrap_err().to_string();
        assert!(error.contains("1501 ms") && error.contains("3000 ms"), "{error}");
    }

    #[test]
    fn a_patience_outside_librdkafkas_range_is_refused_with_any_guarantee() {
        for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
            let settings = |patience| SinkSettings { patience, ..settings(delivery, Duration::from_secs(60)) };
            for (bad, shown) in
                [(Duration::ZERO, "0ns"), (Duration::from_micros(999), "999µs"), (Duration::MAX, "s: give 1ms to")]
            {
                let error = check_settings(&settings(bad), Some(Duration::from_secs(1))).unwrap_err().to_string();
                assert!(error.contains("topic \"alerts\"") && error.contains(shown), "{error}");
            }
            assert!(check_settings(&settings(Duration::from_millis(1)), Some(Duration::from_secs(1))).is_ok());
        }
    }

    #[test]
    fn exactly_once_needs_checkpoints() {
        let error = check_settings(&settings(Delivery::ExactlyOnce, Duration::from_secs(60)), None).unwrap_err();
        assert_eq!(error.remedies(), [Remedy::Setting("checkpoint_dir")]);
        assert!(check_settings(&settings(Delivery::AtLeastOnce, Duration::from_secs(60)), None).is_ok());
    }
}
