//! The settings of Kafka sources and sinks, which their builders fill in.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::sink::SinkContext;
use tidemill_engine::time::whole_ms;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::client::{ClientLog, Connection};
use super::identity::RecreatedTopic;
use super::session::Identity;
use super::start::Start;
use super::topics::Topics;
use crate::malformed::MaxMalformed;
use crate::outbox::LostMarker;

/// The settings of a [`KafkaSource`](super::KafkaSource).
#[derive(Clone)]
pub(super) struct SourceSettings {
    pub(super) connection: Connection,
    pub(super) topics: Topics,
    pub(super) start: Start,
    pub(super) group: Option<String>,
    pub(super) max_out_of_orderness: Duration,
    pub(super) idle_after: Duration,
    pub(super) max_drift: Duration,
    pub(super) discovery: Duration,
    pub(super) until_end: bool,
    pub(super) max_malformed: MaxMalformed,
    pub(super) lead: Duration,
    pub(super) max_ahead: Option<Duration>,
    pub(super) recreated_topic: RecreatedTopic,
}

impl SourceSettings {
    /// Refuses impossible settings before a broker is asked.
    pub(super) fn check(&self) -> Result<(), ConnectorError> {
        let refuse = |setting: &str, why: String| {
            ConnectorError::new(ErrorKind::Invalid, format!("{setting} of {} is {why}", self.topics))
        };
        whole_ms(self.max_drift).map_err(|why| refuse("max_drift", why))?;
        if self.discovery.is_zero() {
            return Err(refuse("discovery_interval", "0 s: brokers would be asked without a pause".to_owned()));
        }
        Ok(())
    }
}

/// The delivery guarantee of a [`KafkaSink`](super::KafkaSink).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// At least once. Messages are acknowledged by all replicas before their epoch counts as durable, and are visible
    /// at once. After a crash, messages since the last checkpoint are produced again.
    AtLeastOnce,
    /// Exactly once. A consumer with the isolation level `read_committed` sees each message once, whichever process
    /// fails at whatever moment. Messages are visible when their epoch is committed. Needs a checkpoint directory.
    ExactlyOnce,
}

/// The settings of a [`KafkaSink`](super::KafkaSink).
#[derive(Clone)]
pub(super) struct SinkSettings {
    pub(super) connection: Connection,
    pub(super) topic: String,
    pub(super) delivery: Delivery,
    pub(super) prefix: Option<String>,
    pub(super) transaction_timeout: Duration,
    pub(super) patience: Duration,
    pub(super) lost_marker: LostMarker,
}

impl SinkSettings {
    pub(super) fn prefix(&self, sink: &str) -> String {
        self.prefix.clone().unwrap_or_else(|| format!("tidemill.{}.{sink}", self.topic))
    }

    pub(super) fn identity(&self, context: &SinkContext, prefix: &str, worker: usize) -> Identity {
        Identity {
            connection: self.connection.clone(),
            topic: self.topic.clone(),
            prefix: prefix.to_owned(),
            worker,
            turn: 0,
            incarnation: context.incarnation,
            leader: context.leader.clone(),
            transaction_timeout: self.transaction_timeout,
            patience: self.patience,
            log: self.log(context),
            ending: Arc::default(),
        }
    }

    pub(super) fn log(&self, context: &SinkContext) -> ClientLog {
        ClientLog { errors: context.metrics.counter("broker_errors"), ..ClientLog::default() }
    }
}
