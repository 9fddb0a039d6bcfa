//! The Kafka source: partitions dealt out among the workers by the engine, each with a watermark of its own.
//!
//! ```text
//! topic/0 ─▶ queue ─┐                                        ┌─▶ records, dead letters
//! topic/1 ─▶ queue ─┼─ the one furthest behind first ─ decode ┤
//! topic/2 ─▶ queue ─┘   (others wait beyond `max_drift`)      └─▶ watermark: the least over those not idle
//!    scout thread: new partitions      librdkafka's threads: fetch, and wake the reader
//! ```
//! Known limit: the first payload of an unknown Avro schema waits for the registry, on the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_engine::metrics::{Counter, Gauge};
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader, Waker};
use tidemill_engine::{Arrival, Clock, ConnectorError, Data, DeadLetter, ErrorKind, EventTime};

use super::client::{self, Connection, failed, verdict};
use super::partition::{BrokersWord, Progress, reading_order};
use super::payload::{Decode, Incoming, NotDecoded};
use super::position::{self, PartitionId, Place};
use super::start::{self, Opening, Start};
use super::topics::{self, Scout, Topics};

/// How often the reader looks when nobody wakes it: events of the consumer (errors, statistics) do not.
const LOOK: Duration = Duration::from_millis(50);
/// Records read of one partition before the next one is chosen.
const STRIDE: usize = 128;
/// How long a partition may be reported missing before that is believed: brokers that come back say so too.
const MISSING: Duration = Duration::from_secs(60);

/// Reads records of type `T` from topics.
///
/// * Time, order: per partition, the watermark is the greatest event time seen minus
///   [`max_out_of_orderness`](Self::max_out_of_orderness); the source's is the least over the partitions that are
///   not idle. Order is kept per partition.
/// * Guarantee: positions are exact; after a restore each record is read once, by any number of workers.
///   Only committed records of transactions are read.
/// * A message that cannot be decoded is a dead letter with topic, partition, offset and reason.
pub struct KafkaSource<T> {
    settings: Settings,
    decode: Arc<dyn Decode<T>>,
    event_time: Arc<dyn Fn(&T) -> EventTime + Send + Sync>,
}

#[derive(Clone)]
struct Settings {
    connection: Connection,
    topics: Topics,
    start: Start,
    group: Option<String>,
    out_of_orderness_ms: i64,
    idle_after: Duration,
    max_drift_ms: i64,
    discovery: Duration,
    until_end: bool,
    max_malformed: u64,
    lead_ms: i64,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<T: Data> KafkaSource<T> {
    /// Messages of a partition beyond this many that cannot be decoded stop the job, per worker.
    pub const MAX_MALFORMED: u64 = 1000;

    /// Reads `topics`; `decode` makes records of messages ([`json`](super::json) and others), `event_time` tells
    /// when a record happened.
    pub fn new(
        connection: Connection,
        topics: Topics,
        decode: impl Decode<T>,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        let settings = Settings {
            connection,
            topics,
            start: Start::Earliest,
            group: None,
            out_of_orderness_ms: 0,
            idle_after: Duration::from_secs(5),
            max_drift_ms: 60_000,
            discovery: Duration::from_secs(5),
            until_end: false,
            max_malformed: Self::MAX_MALFORMED,
            lead_ms: 0,
        };
        Self { settings, decode: Arc::new(decode), event_time: Arc::new(event_time) }
    }

    /// Where a job without a checkpoint begins. Default: at the first record there is.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// Commits offsets to this consumer group when their epoch is committed, for lag monitors. Nothing but
    /// [`Start::Committed`] reads them.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    /// How far behind the latest event time of its partition a record may be without being late. Default: not at all.
    #[must_use]
    pub fn max_out_of_orderness(mut self, bound: Duration) -> Self {
        self.settings.out_of_orderness_ms = ms(bound);
        self
    }

    /// How long a partition must have given nothing, and the broker have nothing more of it, before the watermark
    /// goes on without it. Default: 5 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.settings.idle_after = time;
        self
    }

    /// How far, in event time, a partition may be read ahead of one that has records waiting. Default: 1 min.
    #[must_use]
    pub fn max_drift(mut self, drift: Duration) -> Self {
        self.settings.max_drift_ms = ms(drift);
        self
    }

    /// How often new partitions (and, for a pattern, topics) are looked for. Default: every 5 s.
    #[must_use]
    pub fn discovery_interval(mut self, interval: Duration) -> Self {
        self.settings.discovery = interval;
        self
    }

    /// By how much its event times are ahead of those of the job's other sources, by nature
    /// ([`Source::lead_ms`]). Default: not at all.
    #[must_use]
    pub fn lead(mut self, lead: Duration) -> Self {
        self.settings.lead_ms = ms(lead);
        self
    }

    /// Stops at the end that each partition has when the job starts.
    #[must_use]
    pub fn until_end(mut self) -> Self {
        self.settings.until_end = true;
        self
    }

    /// How many messages a worker may find malformed before the job stops.
    #[must_use]
    pub fn max_malformed(mut self, messages: u64) -> Self {
        self.settings.max_malformed = messages;
        self
    }
}

impl<T: Data> Source for KafkaSource<T> {
    type Item = T;
    type Reader = KafkaReader<T>;

    fn lead_ms(&self) -> i64 {
        self.settings.lead_ms
    }

    fn open(&self, context: SourceContext) -> Result<KafkaReader<T>, ConnectorError> {
        let settings = self.settings.clone();
        let consumer = Arc::new(consumer(&settings, &context)?);
        let there = topics::list(consumer.as_ref(), &settings.topics)?;
        check_topics(&settings.topics, &there)?;
        let restored = (!context.restored.is_empty()).then(|| position::merge(&context.restored)).transpose()?;
        if let Some(restored) = &restored {
            start::check_restored(restored, &settings.topics, &there)?;
        }
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
        let mut reader = KafkaReader {
            name: context.name,
            settings,
            decode: Arc::clone(&self.decode),
            event_time: Arc::clone(&self.event_time),
            lanes: Vec::new(),
            consumer,
            scout,
            waker: context.waker,
            clock: context.clock,
            order: Vec::new(),
            malformed: 0,
            partitions: context.metrics.gauge("partitions"),
            lag: context.metrics.gauge("lag_records"),
            record: PhantomData,
        };
        reader.assign(openings)?;
        Ok(reader)
    }
}

fn consumer(settings: &Settings, context: &SourceContext) -> Result<BaseConsumer<Watch>, ConnectorError> {
    let defaults = [
        // Little is kept ahead per partition: a worker may have hundreds.
        ("queued.min.messages", "20000"),
        ("queued.max.messages.kbytes", "16384"),
        // What was given back as too much is fetched again soon.
        ("fetch.queue.backoff.ms", "10"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ];
    let fixed = [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Records that are gone are an error, never skipped.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        ("statistics.interval.ms", "1000"),
        ("allow.auto.create.topics", "false"),
    ];
    let mut config = settings.connection.config(&defaults, &fixed)?;
    // Without a group librdkafka assigns nothing; this one is never joined, nor committed to unless asked for.
    let unused = format!("tidemill-{}", context.name);
    config.set("group.id", settings.group.as_deref().unwrap_or(&unused));
    let watch = Watch {
        clock: context.clock.clone(),
        words: Mutex::default(),
        errors: context.metrics.counter("broker_errors"),
        waker: context.waker.clone(),
    };
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

/// Hears what librdkafka has to say about the partitions.
pub(super) struct Watch {
    clock: Clock,
    words: Mutex<BTreeMap<PartitionId, BrokersWord>>,
    errors: Counter,
    waker: Waker,
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is told as an error.
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
            self.errors.add(1);
            tracing::warn!(%error, reason, "Kafka");
        }
    }

    fn stats(&self, statistics: Statistics) {
        let connected: BTreeSet<i32> =
            statistics.brokers.values().filter(|broker| broker.state == "UP").map(|broker| broker.nodeid).collect();
        let at = self.clock.now();
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in statistics.topics.values() {
            for (number, partition) in &topic.partitions {
                let id = PartitionId { topic: topic.topic.clone(), partition: *number };
                // Only what is committed can be read.
                let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
                let fetched = partition.next_offset;
                let connected = connected.contains(&partition.leader) && end >= 0;
                words.insert(id, BrokersWord { fetched, end, connected, at });
            }
        }
        self.waker.wake();
    }
}

impl ConsumerContext for Watch {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed to the group; only lag monitors miss them");
        }
    }
}

/// A partition as a worker reads it.
struct Lane {
    id: PartitionId,
    progress: Progress,
    queue: PartitionQueue<Watch>,
    missing_since: Option<Arrival>,
}

/// One worker's partitions.
pub struct KafkaReader<T> {
    name: String,
    settings: Settings,
    decode: Arc<dyn Decode<T>>,
    event_time: Arc<dyn Fn(&T) -> EventTime + Send + Sync>,
    // Before the consumer: queues end before it does.
    lanes: Vec<Lane>,
    consumer: Arc<BaseConsumer<Watch>>,
    scout: Option<Scout>,
    waker: Waker,
    clock: Clock,
    order: Vec<usize>,
    malformed: u64,
    partitions: Gauge,
    lag: Gauge,
    record: PhantomData<fn() -> T>,
}

impl<T: Data> KafkaReader<T> {
    /// Begins to read partitions.
    fn assign(&mut self, openings: BTreeMap<PartitionId, Opening>) -> Result<(), ConnectorError> {
        let mut list = TopicPartitionList::new();
        for (id, Opening { place, end }) in openings {
            let progress =
                Progress::new(place, self.settings.out_of_orderness_ms, self.settings.until_end.then_some(end));
            if progress.is_done() {
                // Nothing to read, but its place is noted like any other.
                tracing::debug!(partition = %id, "nothing to read");
            }
            list.add_partition_offset(&id.topic, id.partition, Offset::Offset(place.next))
                .map_err(|e| failed(format!("read {id} from offset {}", place.next), e))?;
            // Before it is assigned, so that no message goes by another way.
            let mut queue = self.consumer.split_partition_queue(&id.topic, id.partition).ok_or_else(|| {
                ConnectorError::new(ErrorKind::Internal, format!("librdkafka gave no queue for {id}"))
            })?;
            let waker = self.waker.clone();
            queue.set_nonempty_callback(move || waker.wake());
            tracing::debug!(partition = %id, next = place.next, "reads");
            self.lanes.push(Lane { id, progress, queue, missing_since: None });
        }
        if list.count() > 0 {
            self.consumer.incremental_assign(&list).map_err(|e| failed("read partitions", e))?;
        }
        self.partitions.set(self.lanes.len() as i64);
        Ok(())
    }

    fn take_discoveries(&mut self) -> Result<(), ConnectorError> {
        let found: Vec<_> = self.scout.iter().flat_map(|scout| scout.found.try_iter()).collect();
        for (id, next) in found {
            tracing::info!(partition = %id, from = next, "a new partition");
            let place = Place { next, watermark: i64::MIN, quiet_since: self.clock.now().0 };
            self.assign([(id, Opening { place, end: next })].into())?;
        }
        Ok(())
    }

    /// Serves the consumer's events: its errors, statistics, commits.
    fn serve(&mut self) -> Result<(), ConnectorError> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Ok(message) => {
                    let id = PartitionId { topic: message.topic().to_owned(), partition: message.partition() };
                    let message = format!("librdkafka gave offset {} of {id} by the wrong queue", message.offset());
                    return Err(ConnectorError::new(ErrorKind::Internal, message));
                }
                Err(error) => self.judge("read", &error)?,
            }
        }
        Ok(())
    }

    /// An error that librdkafka does not wait out by itself stops the job.
    fn judge(&self, what: &str, error: &KafkaError) -> Result<(), ConnectorError> {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if !fatal && verdict(code).0 == ErrorKind::Unavailable {
            tracing::warn!(%error, "Kafka: waiting");
            return Ok(());
        }
        Err(failed(what, error.clone()))
    }

    /// Reads up to a stride of one partition. Returns how many messages there were.
    fn drain(&mut self, index: usize, batch: &mut Batch<T>) -> Result<usize, ConnectorError> {
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(0) };
        let mut read = 0;
        while read < STRIDE {
            match lane.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    read += 1;
                    let offset = message.offset();
                    if lane.progress.is_beyond(offset) {
                        lane.progress.pass_end();
                        break;
                    }
                    lane.missing_since = None;
                    match self.decode.decode(Incoming::new(&message)) {
                        Ok(record) => {
                            let event_time = (self.event_time)(&record);
                            lane.progress.read(offset, Some(event_time), batch.now());
                            batch.push(event_time, record);
                        }
                        Err(NotDecoded::Poison(reason)) => {
                            lane.progress.read(offset, None, batch.now());
                            let origin = format!("{}@{offset}", lane.id);
                            self.malformed += 1;
                            if self.malformed > self.settings.max_malformed {
                                return Err(too_many(self.settings.max_malformed, &origin, &reason));
                            }
                            let content = message.payload().unwrap_or_default();
                            batch.dead_letter(DeadLetter::new(&self.name, origin, reason, content));
                        }
                        Err(NotDecoded::Stop(error)) => return Err(error),
                    }
                    if lane.progress.is_done() {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => lane.progress.reached_end(),
                Some(Err(error)) => {
                    let what = format!("read {}", lane.id);
                    let missing = error.rdkafka_error_code().is_some_and(is_missing);
                    let now = batch.now();
                    let since = *lane.missing_since.get_or_insert(now);
                    if missing && u128::from(now.0.saturating_sub(since.0)) > MISSING.as_micros() {
                        return Err(failed(what, error));
                    }
                    return self.judge(&what, &error).map(|()| read);
                }
            }
        }
        Ok(read)
    }

    /// Reads about a batch, always next from the partition that is furthest behind.
    fn fill(&mut self, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        let mut order = std::mem::take(&mut self.order);
        let mut result = Ok(());
        'batch: while batch.records().len() + batch.dead_letters().len() < Batch::<T>::LIMIT {
            reading_order(self.lanes.iter().map(|lane| &lane.progress), self.settings.max_drift_ms, &mut order);
            for index in &order {
                match self.drain(*index, batch) {
                    Ok(0) => {}
                    Ok(_) => continue 'batch,
                    Err(error) => {
                        result = Err(error);
                        break 'batch;
                    }
                }
            }
            break;
        }
        self.order = order;
        result
    }

    /// Judges which partitions are idle, and promises a watermark for the others.
    fn promise(&mut self, batch: &mut Batch<T>) {
        let now = batch.now();
        let mut lag = 0;
        {
            let words = self.consumer.context().words.lock().unwrap_or_else(PoisonError::into_inner);
            for lane in &mut self.lanes {
                let word = words.get(&lane.id).copied();
                lag += word.map_or(0, |word| (word.end - lane.progress.place().next).max(0));
                lane.progress.judge(now, self.settings.idle_after, word);
            }
        }
        self.lag.set(lag);
        match self.lanes.iter().filter_map(|lane| lane.progress.holds()).min() {
            Some(watermark) => batch.advance_watermark(watermark),
            None => {
                // What was read up to now counts, should everyone be idle.
                if let Some(latest) = self.lanes.iter().map(|lane| lane.progress.watermark()).max() {
                    batch.advance_watermark(latest);
                }
                batch.mark_idle();
            }
        }
    }
}

fn is_missing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
}

fn too_many(most: u64, origin: &str, reason: &str) -> ConnectorError {
    let message = format!("more than {most} messages could not be decoded, the last one at {origin}: {reason}");
    ConnectorError::new(ErrorKind::Data, message)
}

impl<T: Data> SourceReader for KafkaReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        self.take_discoveries()?;
        self.serve()?;
        self.fill(batch)?;
        self.promise(batch);
        if self.settings.until_end && self.lanes.iter().all(|lane| lane.progress.is_done()) {
            return Ok(Next::Done);
        }
        let full = batch.records().len() + batch.dead_letters().len() >= Batch::<T>::LIMIT;
        Ok(if full { Next::Now } else { Next::After(LOOK) })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        position::encode(self.lanes.iter().map(|lane| (lane.id.clone(), lane.progress.place())))
    }

    fn committed(&mut self, position: &[u8]) {
        if self.settings.group.is_none() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (id, place) in position::merge(&[position.to_vec()]).unwrap_or_default() {
            drop(list.add_partition_offset(&id.topic, id.partition, Offset::Offset(place.next)));
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::warn!(%error, "offsets were not committed to the group; only lag monitors miss them");
        }
    }
}
