//! What a program says of its sources and sinks; their builders fill it in.

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

/// How topics are read.
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
    /// Refuses what cannot be, before a broker is asked.
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

/// What a [`KafkaSink`](super::KafkaSink) promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Messages are acknowledged by all replicas before their epoch counts as durable. After a crash those since
    /// the last checkpoint are produced again. They are visible at once.
    AtLeastOnce,
    /// A consumer that reads `read_committed` sees each message once, whatever dies when. They are visible when
    /// their epoch is committed. Needs a checkpoint directory.
    ExactlyOnce,
}

/// What a restart does when output is staged and its marker is gone, so that nobody can tell whether it was
/// published. Brokers forget a marker when nothing was committed for `offsets.retention.minutes` (7 days).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LostMarker {
    /// Stop, and say so.
    #[default]
    Refuse,
    /// Publish it: it may be there twice.
    Publish,
    /// Leave it out: it may be missing.
    Skip,
}

/// How a topic is written.
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
