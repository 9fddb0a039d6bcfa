//! The common parts of all librdkafka clients: the connection, the log, the errors.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tidemill_engine::metrics::Counter;
use tidemill_engine::threads;
use tidemill_engine::{ConnectorError, ErrorKind, Remedy};

use super::identity::TopicIds;

/// Time limit of one request to the brokers while a source or a sink opens.
pub(super) const ASK: Duration = Duration::from_secs(30);

/// Asks the brokers for metadata: of a topic, or of all. A connection that breaks while they answer is made again.
pub(super) fn metadata<C: ClientContext>(client: &Client<C>, topic: Option<&str>) -> Result<Metadata, KafkaError> {
    let give_up = threads::now() + ASK;
    loop {
        let left = give_up.saturating_duration_since(threads::now());
        match client.fetch_metadata(topic, left) {
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure)) if threads::now() < give_up => {}
            done => return done,
        }
    }
}

/// A Kafka cluster and the properties of the connection to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// The brokers as `host:port`, separated by commas.
    pub brokers: String,
    /// Properties that are passed to librdkafka: TLS, SASL, and anything else it knows.
    pub properties: Vec<(String, String)>,
}

impl Connection {
    /// Returns a connection to `brokers` (`host:port`, separated by commas), without TLS.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), properties: Vec::new() }
    }

    /// Sets a property of librdkafka: `security.protocol`, `sasl.username`, `ssl.ca.location`, …
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Returns librdkafka's configuration. `fixed` are the properties on which guarantees depend.
    ///
    /// # Errors
    /// When the program sets another value for a `fixed` property.
    pub(super) fn config(
        &self,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
    ) -> Result<ClientConfig, ConnectorError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "tidemill");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            if let Some((_, ours)) = fixed.iter().find(|(fixed, _)| fixed == name) {
                let message = format!(
                    "property {name} cannot be set to \"{value}\": the guarantees of this connector need \"{ours}\""
                );
                return Err(ConnectorError::new(ErrorKind::Invalid, message));
            }
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }
}

impl fmt::Debug for Connection {
    /// Writes no values of properties, because one of them may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Connection").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

/// Receives librdkafka's log and errors, which come from librdkafka's own threads.
#[derive(Clone, Default)]
pub(super) struct ClientLog {
    /// Number of errors after which librdkafka recovers by itself: lost connections, unreachable brokers.
    pub(super) errors: Counter,
    /// The ids of topics in its log.
    pub(super) topic_ids: TopicIds,
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.topic_ids.hear(message);
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.errors.add(1);
        tracing::warn!(%error, reason, "librdkafka reports an error");
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        // What librdkafka logs as errors are mostly lost connections; errors that matter are returned by calls.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::debug!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Debug => tracing::trace!(facility, message, "librdkafka"),
    }
}

/// Returns the error of a call, with what was tried and what the user can do.
pub(super) fn failed(what: impl fmt::Display, error: KafkaError) -> ConnectorError {
    let code = error.rdkafka_error_code();
    let (kind, advice) = code.map_or((kind_of_config(&error), ""), verdict);
    let advice = if advice.is_empty() { String::new() } else { format!(": {advice}") };
    let failed = ConnectorError::caused(kind, format!("could not {what}{advice}"), error);
    match kind {
        // Records that come after the checkpoint's position have been deleted.
        ErrorKind::Data => failed.remedy(Remedy::RestoreNewest).remedy(Remedy::StartOver),
        _ => failed,
    }
}

fn kind_of_config(error: &KafkaError) -> ErrorKind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

/// Returns the kind of an error code, and what the user can do.
pub(super) fn verdict(code: RDKafkaErrorCode) -> (ErrorKind, &'static str) {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            (ErrorKind::Invalid, "this user is not authorized: grant it the rights on the cluster")
        }
        Code::SaslAuthenticationFailed | Code::Authentication => {
            (ErrorKind::Invalid, "the cluster does not know this user: check the sasl.* and ssl.* properties")
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            (ErrorKind::Unavailable, "the topic or partition does not exist: create it, or correct the name")
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => (
            ErrorKind::Data,
            "the records to read next do not exist any more: retention deleted them before they were read, or the topic was created again; restore a newer checkpoint, or start over in an empty checkpoint directory",
        ),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => (
            ErrorKind::Invalid,
            "the record is too large: raise max.message.bytes of the topic and message.max.bytes of the connection",
        ),
        Code::InvalidTransactionTimeout => {
            (ErrorKind::Invalid, "the transaction time-out is above the broker's transaction.max.timeout.ms")
        }
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            (ErrorKind::Fenced, "another incarnation of the job has taken over its transactions")
        }
        Code::UnsupportedFeature | Code::UnsupportedVersion => {
            (ErrorKind::Invalid, "the brokers are too old for this operation")
        }
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut | Code::Resolve => {
            (ErrorKind::Unavailable, "no broker answered: is the address right, and does Kafka run there?")
        }
        _ => (ErrorKind::Unavailable, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_on_which_a_guarantee_depends_cannot_be_changed() {
        let connection = Connection::new("a:1").property("enable.idempotence", "false").property("linger.ms", "7");
        let error = connection.config(&[], &[("enable.idempotence", "true")]).unwrap_err();
        assert!(error.to_string().contains("enable.idempotence"), "{error}");
        let config = connection.config(&[("linger.ms", "5")], &[]).unwrap();
        assert_eq!(config.get("linger.ms"), Some("7"));
    }

    #[test]
    fn a_password_is_not_printed() {
        let connection = Connection::new("a:1").property("sasl.password", "secret");
        assert!(!format!("{connection:?}").contains("secret"));
    }
}
