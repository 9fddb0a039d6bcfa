//! The Kafka source: partitions divided among the workers, each with a watermark of its own.
//!
//! ```text
//! topic/0 ─▶ queue ─┐                                        ┌─▶ records, dead letters
//! topic/1 ─▶ queue ─┼─ the one furthest behind first ─ decode ┤                            reader.rs, partition.rs
//! topic/2 ─▶ queue ─┘   (others wait beyond `max_drift`)      └─▶ watermark: the least over those not idle
//!    scout thread: new partitions      librdkafka's threads: fetch, and wake the reader     topics.rs, watch.rs
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tidemill_engine::source::{Source, SourceContext};
use tidemill_engine::{ConnectorError, Data, ErrorKind, EventTime};

use super::client::{Connection, failed};
use super::decode::Decode;
use super::identity::{self, RecreatedTopic};
use super::position::{self, PartitionId};
use super::reader::KafkaReader;
use super::settings::SourceSettings;
use super::start::{self, Start};
use super::topics::{self, Scout, Topics};
use super::watch::{self, ConsumerWatch};
use crate::event_times::{event_time_settings, event_time_statements};
use crate::malformed::MaxMalformed;

/// A source that reads records of type `T` from Kafka topics.
///
/// * Time, order: the watermark of a partition is the greatest event time seen minus
///   [`max_out_of_orderness`](Self::max_out_of_orderness). The watermark of the source is the least over the partitions
///   that are not idle. Order is kept per partition.
/// * Guarantee: positions are exact. After a restore each record is read once, by any number of workers.
///   Of a transaction, only committed records are read.
/// * A message that cannot be decoded becomes a dead letter with topic, partition, offset and reason. So does a
///   tombstone, unless the decoder makes a record of it ([`json_or_deleted`](super::json_or_deleted)). Tombstones do
///   not count as malformed and never stop the job.
pub struct KafkaSource<T> {
    settings: SourceSettings,
    decode: Arc<dyn Decode<T>>,
    event_time: Arc<dyn Fn(&T) -> EventTime + Send + Sync>,
}

impl<T: Data> KafkaSource<T> {
    /// Default limit of malformed messages: the job stops when a worker cannot decode more than this many of its last
    /// 10,000 messages.
    pub const MAX_MALFORMED: u64 = 1000;

    /// Returns a source that reads `topics`. `decode` turns messages into records ([`json`](super::json) and others);
    /// `event_time` returns the event time of a record.
    pub fn new(
        connection: Connection,
        topics: Topics,
        decode: impl Decode<T>,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        let settings = SourceSettings {
            connection,
            topics,
            start: Start::Earliest,
            group: None,
            max_out_of_orderness: Duration::ZERO,
            idle_after: Duration::from_secs(5),
            max_drift: Duration::from_secs(60),
            discovery: Duration::from_secs(5),
            until_end: false,
            max_malformed: MaxMalformed::default(),
            lead: Duration::ZERO,
            max_ahead: None,
            recreated_topic: RecreatedTopic::Refuse,
        };
        Self { settings, decode: Arc::new(decode), event_time: Arc::new(event_time) }
    }

    /// Sets where a job without a checkpoint begins to read. Default: [`Start::Earliest`].
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// Sets the consumer group to which offsets are committed when their epoch is committed, so that lag monitors can
    /// see them. The job itself reads them only for [`Start::Committed`].
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    event_time_settings!("of its partition ");

    /// Sets the time after which a partition is idle: no record was read from it for this long, and the broker has no
    /// more of it. The watermark does not wait for idle partitions. Default: 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.settings.idle_after = time;
        self
    }

    /// Sets how far, in event time, a partition may be read ahead of another one that has records waiting.
    /// Default: 1 min.
    #[must_use]
    pub fn max_drift(mut self, drift: Duration) -> Self {
        self.settings.max_drift = drift;
        self
    }

    /// Sets how often the source looks for new partitions and, for a pattern, new topics. Default: every 5 s.
    #[must_use]
    pub fn discovery_interval(mut self, interval: Duration) -> Self {
        self.settings.discovery = interval;
        self
    }

    /// Sets what a restore does with a topic that was deleted and created again since the checkpoint. Default: the
    /// restore is refused. A job that is running when this happens stops, whatever is set here.
    #[must_use]
    pub fn recreated_topic(mut self, policy: RecreatedTopic) -> Self {
        self.settings.recreated_topic = policy;
        self
    }

    /// Makes the source end where each partition ends when the job starts.
    #[must_use]
    pub fn until_end(mut self) -> Self {
        self.settings.until_end = true;
        self
    }

    /// Sets when malformed messages stop the job: at a total, at a share of the messages read last, at either of them,
    /// or never. Default: [`MaxMalformed::default`]. Tombstones do not count.
    #[must_use]
    pub fn max_malformed(mut self, limit: MaxMalformed) -> Self {
        self.settings.max_malformed = limit;
        self
    }
}

impl<T: Data> Source for KafkaSource<T> {
    type Item = T;
    type Reader = KafkaReader<T>;

    event_time_statements!();

    fn open(&self, context: SourceContext) -> Result<KafkaReader<T>, ConnectorError> {
        let settings = self.settings.clone();
        settings.check()?;
        let consumer = Arc::new(consumer(&settings, &context)?);
        let there = topics::list(consumer.as_ref(), &settings.topics)?;
        check_topics(&settings.topics, &there)?;
        topics::identify(consumer.as_ref(), &settings.topics, &there)?;
        // Nothing is assigned yet; errors are reported by the calls that matter.
        watch::take_events(&consumer, |_| Ok(()))?;
        let mut noted = (!context.restored.is_empty()).then(|| position::merge(&context.restored)).transpose()?;
        if let Some(noted) = &mut noted {
            identity::reconcile(noted, &consumer.context().topic_ids, settings.recreated_topic)?;
            start::check_restored(&noted.places, &settings.topics, &there)?;
        }
        let restored = noted.map(|noted| noted.places);
        let (worker, workers) = (context.worker, context.workers);
        let mine: BTreeSet<PartitionId> = there.iter().filter(|id| id.owner(workers) == worker).cloned().collect();
        let now = context.clock.now();
        let openings = start::places(consumer.as_ref(), &mine, restored.as_ref(), &settings.start, now)?;
        let scout = (!settings.until_end)
            .then(|| {
                let is_mine = move |id: &PartitionId| id.owner(workers) == worker;
                let (consumer, topics) = (Arc::clone(&consumer), settings.topics.clone());
                Scout::start(consumer, topics, there, is_mine, settings.discovery, context.waker.clone())
            })
            .transpose()?;
        let (decode, event_time) = (Arc::clone(&self.decode), Arc::clone(&self.event_time));
        let mut reader = KafkaReader::new(settings, decode, event_time, consumer, scout, context);
        reader.assign(openings)?;
        Ok(reader)
    }
}

fn consumer(settings: &SourceSettings, context: &SourceContext) -> Result<BaseConsumer<ConsumerWatch>, ConnectorError> {
    let defaults = [
        // The prefetch queue of a partition is small: a worker may have hundreds of partitions.
        ("queued.min.messages", "20000"),
        ("queued.max.messages.kbytes", "16384"),
        // What was given back as too much is fetched again soon.
        ("fetch.queue.backoff.ms", "10"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ];
    let fixed = [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Records that no longer exist are an error; they are never skipped.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        ("statistics.interval.ms", "1000"),
        ("allow.auto.create.topics", "false"),
    ];
    let mut config = settings.connection.config(&defaults, &fixed)?;
    // Without a group librdkafka assigns nothing; this one is never joined, nor committed to unless asked for.
    let unused = format!("tidemill-{}", context.name);
    identity::listen(&mut config);
    config.set("group.id", settings.group.as_deref().unwrap_or(&unused));
    let watch = ConsumerWatch::new(context);
    config.create_with_context(watch).map_err(|e| failed("make a Kafka consumer", e))
}

fn check_topics(topics: &Topics, there: &BTreeSet<PartitionId>) -> Result<(), ConnectorError> {
    match topics {
        Topics::Named(names) => match names.iter().find(|name| !there.iter().any(|id| id.topic == **name)) {
            None if !names.is_empty() => Ok(()),
            None => Err(ConnectorError::new(ErrorKind::Invalid, "no topic to read was given")),
            Some(name) => Err(ConnectorError::new(
                ErrorKind::Invalid,
                format!("there is no topic \"{name}\": create it, or correct the name"),
            )),
        },
        Topics::Pattern(_) => {
            if there.is_empty() {
                tracing::warn!(%topics, "no topic matches yet");
            }
            Ok(())
        }
    }
}
