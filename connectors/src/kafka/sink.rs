//! The Kafka sink: the checks before anything is written, and the two ways of writing.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill_engine::{ConnectorError, Data, DeadLetter, Epoch, ErrorKind, Record};

use super::client::Connection;
use super::dead_letter;
use super::identity::TopicIds;
use super::limits;
use super::outgoing::Outgoing;
use super::recovery;
use super::settings::{Delivery, SinkSettings};
use super::token::TokenHead;
use super::{direct, transactional};
use crate::outbox::LostMarker;

type Encode<T> = Arc<dyn Fn(&Record<T>, &mut Outgoing) -> Result<(), String> + Send + Sync>;

/// A sink that writes records as messages to a Kafka topic.
///
/// * Order: messages of one key that come from one worker stay in order.
/// * Guarantee: see [`Delivery`]. A record that cannot be encoded, or is too large for the topic, stops the job.
/// * Exactly once: messages of an epoch are produced into one transaction per worker while the epoch runs, and
///   staged in its delta; the transaction commits after the manifest, together with a marker of its epoch (see
///   `docs/connectors/kafka.md`). Marker groups are `{prefix}.w{worker}`, transactional ids `{prefix}.w{worker}.0` and `.1`.
pub struct KafkaSink<T> {
    settings: SinkSettings,
    encode: Encode<T>,
    record: PhantomData<fn(T)>,
}

impl<T: Data> KafkaSink<T> {
    /// Returns a sink that writes to `topic` the message into which `encode` turns each record.
    pub fn new(
        connection: Connection,
        topic: impl Into<String>,
        delivery: Delivery,
        encode: impl Fn(&Record<T>, &mut Outgoing) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let settings = SinkSettings {
            connection,
            topic: topic.into(),
            delivery,
            prefix: None,
            transaction_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(300),
            lost_marker: LostMarker::Refuse,
        };
        Self { settings, encode: Arc::new(encode), record: PhantomData }
    }

    /// Returns a sink that writes each record as JSON, with the message key that `key` returns.
    pub fn json(
        connection: Connection,
        topic: impl Into<String>,
        delivery: Delivery,
        key: impl Fn(&T) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::new(connection, topic, delivery, move |record, message| {
            message.key = Some(key(&record.data));
            message.payload = Some(serde_json::to_vec(&record.data).map_err(|e| e.to_string())?);
            Ok(())
        })
    }

    /// Sets the prefix of the transactional ids and marker groups. It must be the same at every start of the job, and
    /// no other job may use it. Default: `tidemill.{topic}.{name of the sink}`.
    #[must_use]
    pub fn transactional_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = Some(prefix.into());
        self
    }

    /// Sets how long the broker keeps an inactive transaction open. It must be at least twice the checkpoint interval
    /// and at most the broker's `transaction.max.timeout.ms`. Default: 1 min.
    #[must_use]
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.settings.transaction_timeout = timeout;
        self
    }

    /// Sets how long brokers may be unreachable before the job stops. Nothing is lost when it stops. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Sets what a restart does when it cannot find out what was published. Default: it stops.
    #[must_use]
    pub fn lost_marker(mut self, lost_marker: LostMarker) -> Self {
        self.settings.lost_marker = lost_marker;
        self
    }
}

impl KafkaSink<DeadLetter> {
    /// Returns a sink that writes dead letters. The payload is the content of the dead letter. The headers are the
    /// operator, the reason and, if it was a Kafka message, its topic, partition and offset.
    pub fn dead_letters(connection: Connection, topic: impl Into<String>, delivery: Delivery) -> Self {
        Self::new(connection, topic, delivery, |record, message| {
            dead_letter::encode(&record.data, message);
            Ok(())
        })
    }
}

impl<T: Data> Sink for KafkaSink<T> {
    type Item = T;
    type Writer = KafkaWriter<T>;

    fn open(&self, context: SinkContext) -> Result<KafkaWriter<T>, ConnectorError> {
        let settings = &self.settings;
        limits::check_settings(settings, context.checkpoint_interval)?;
        let prefix = settings.prefix(&context.name);
        let (way, topic_ids) = match settings.delivery {
            Delivery::AtLeastOnce => {
                let log = settings.log(&context);
                let topic_ids = log.topic_ids.clone();
                let way =
                    Way::Direct(direct::Writer::open(&settings.connection, &settings.topic, settings.patience, log)?);
                (way, topic_ids)
            }
            Delivery::ExactlyOnce => {
                let (worker, workers) = (context.worker, context.workers);
                let head = TokenHead { topic: settings.topic.clone(), prefix: prefix.clone(), worker, workers };
                let identity = settings.identity(&context, &prefix, worker);
                let topic_ids = identity.log.topic_ids.clone();
                (Way::Transactional(transactional::Writer::start(identity, head)?), topic_ids)
            }
        };
        Ok(KafkaWriter {
            topic: settings.topic.clone(),
            largest: limits::largest_message(settings)?,
            encode: Arc::clone(&self.encode),
            message: Outgoing::default(),
            way,
            topic_ids,
            record: PhantomData,
        })
    }

    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        limits::check_settings(&self.settings, context.checkpoint_interval)?;
        limits::check_cluster(&self.settings)?;
        recovery::recover(&self.settings, context, tokens)
    }
}

/// The writer of one worker of a [`KafkaSink`].
pub struct KafkaWriter<T> {
    topic: String,
    largest: usize,
    encode: Encode<T>,
    message: Outgoing,
    way: Way,
    topic_ids: TopicIds,
    record: PhantomData<fn(T)>,
}

enum Way {
    Direct(direct::Writer),
    Transactional(transactional::Writer),
}

impl<T: Data> SinkWriter for KafkaWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        self.message.clear();
        (self.encode)(record, &mut self.message).map_err(|reason| {
            let message =
                format!("a record cannot be written to topic \"{}\": {reason}: {:?}", self.topic, record.data);
            ConnectorError::new(ErrorKind::Invalid, message)
        })?;
        if self.message.size() > self.largest {
            return Err(limits::too_large(&self.topic, self.message.size(), self.largest));
        }
        match &mut self.way {
            Way::Direct(writer) => writer.write(&self.message),
            Way::Transactional(writer) => writer.write(&self.message),
        }
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        if let Some(remade) = self.topic_ids.remade() {
            return Err(remade.while_writing());
        }
        match &mut self.way {
            Way::Direct(writer) => Ok(Some(writer.stage())),
            Way::Transactional(writer) => writer.stage(epoch),
        }
    }

    fn ready(&mut self) -> bool {
        match &mut self.way {
            Way::Direct(writer) => writer.is_ready(),
            Way::Transactional(writer) => writer.is_ready(),
        }
    }
}
