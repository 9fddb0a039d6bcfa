//! The reader of one worker's partitions.
//!
//! Known limit: the first payload of an unknown Avro schema waits for the registry, on the worker.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_engine::metrics::{Counter, Gauge, OperatorMetrics, PartitionMetrics};
use tidemill_engine::source::{Batch, Next, SourceContext, SourceReader, Waker};
use tidemill_engine::{Arrival, Clock, ConnectorError, Data, DeadLetter, ErrorKind, EventTime};

use super::client::{failed, verdict};
use super::decode::{Decode, Incoming, NotDecoded};
use super::partition::{PartitionProgress, furthest_behind, reading_order};
use super::position::{self, PartitionId, Place};
use super::settings::SourceSettings;
use super::start::Opening;
use super::topics::Scout;
use super::watch::{ConsumerWatch, take_events};
use crate::malformed::Tolerated;

/// Interval of reads if the reader is not woken: events of the consumer (errors, statistics) do not wake it.
const LOOK: Duration = Duration::from_millis(50);
/// Number of messages read from one partition before the next partition is chosen.
const STRIDE: usize = 128;
/// Time for which a partition may be reported as missing before this is an error, because restarting brokers report it
/// too.
const MISSING: Duration = Duration::from_secs(60);
/// The reason in the dead letter of a tombstone, whose content is the key.
const TOMBSTONE: &str = "a tombstone: its key was deleted, which this decoder has no record for (json_or_deleted has)";

/// A partition as a worker reads it.
struct Lane {
    id: PartitionId,
    progress: PartitionProgress,
    metrics: PartitionMetrics,
    queue: PartitionQueue<ConsumerWatch>,
    missing_since: Option<Arrival>,
}

/// The reader of one worker of a [`KafkaSource`](super::KafkaSource).
pub struct KafkaReader<T> {
    name: String,
    settings: SourceSettings,
    decode: Arc<dyn Decode<T>>,
    event_time: Arc<dyn Fn(&T) -> EventTime + Send + Sync>,
    // This field is before `consumer`, so that the queues are dropped first.
    lanes: Vec<Lane>,
    consumer: Arc<BaseConsumer<ConsumerWatch>>,
    scout: Option<Scout>,
    waker: Waker,
    clock: Clock,
    order: Vec<usize>,
    malformed: Tolerated,
    tombstones: Counter,
    metrics: Arc<OperatorMetrics>,
    partitions: Gauge,
    lag: Gauge,
    record: PhantomData<fn() -> T>,
}

impl<T: Data> KafkaReader<T> {
    pub(super) fn new(
        settings: SourceSettings,
        decode: Arc<dyn Decode<T>>,
        event_time: Arc<dyn Fn(&T) -> EventTime + Send + Sync>,
        consumer: Arc<BaseConsumer<ConsumerWatch>>,
        scout: Option<Scout>,
        context: SourceContext,
    ) -> Self {
        Self {
            malformed: Tolerated::new(&context.name, settings.max_malformed, "messages"),
            name: context.name,
            tombstones: context.metrics.counter("tombstones"),
            settings,
            decode,
            event_time,
            lanes: Vec::new(),
            consumer,
            scout,
            waker: context.waker,
            clock: context.clock,
            order: Vec::new(),
            partitions: context.metrics.gauge("partitions"),
            lag: context.metrics.gauge("lag_records"),
            metrics: context.metrics,
            record: PhantomData,
        }
    }

    /// Begins to read partitions.
    pub(super) fn assign(&mut self, openings: BTreeMap<PartitionId, Opening>) -> Result<(), ConnectorError> {
        let mut list = TopicPartitionList::new();
        for (id, Opening { place, end }) in openings {
            let progress = PartitionProgress::new(
                place,
                self.settings.max_out_of_orderness,
                self.settings.until_end.then_some(end),
            );
            if progress.is_done() {
                // There is nothing to read, but the position of the partition is stored like any other.
                tracing::debug!(partition = %id, "nothing to read");
            }
            list.add_partition_offset(&id.topic, id.partition, Offset::Offset(place.next))
                .map_err(|e| failed(format!("read {id} from offset {}", place.next), e))?;
            // The queue is split off before the partition is assigned, so that all its messages go to this queue.
            let mut queue = self.consumer.split_partition_queue(&id.topic, id.partition).ok_or_else(|| {
                ConnectorError::new(ErrorKind::Internal, format!("librdkafka gave no queue for {id}"))
            })?;
            let waker = self.waker.clone();
            queue.set_nonempty_callback(move || waker.wake());
            tracing::debug!(partition = %id, next = place.next, "reads");
            let metrics = self.metrics.partition(&id.to_string());
            self.lanes.push(Lane { id, progress, metrics, queue, missing_since: None });
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
            tracing::info!(partition = %id, from = next, "a new partition is read");
            let place = Place { next, watermark: i64::MIN, quiet_since: self.clock.now().0 };
            self.assign([(id, Opening { place, end: next })].into())?;
        }
        Ok(())
    }

    /// Handles the events of the consumer: errors, statistics and results of commits.
    fn serve(&self) -> Result<(), ConnectorError> {
        take_events(&self.consumer, |event| match event {
            Ok(message) => {
                let id = PartitionId { topic: message.topic().to_owned(), partition: message.partition() };
                let message = format!("librdkafka gave offset {} of {id} by the wrong queue", message.offset());
                Err(ConnectorError::new(ErrorKind::Internal, message))
            }
            Err(error) => self.judge("read", &error),
        })
    }

    /// Returns an error that stops the job, unless librdkafka itself waits until the cause is over.
    fn judge(&self, what: &str, error: &KafkaError) -> Result<(), ConnectorError> {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if !fatal && verdict(code).0 == ErrorKind::Unavailable {
            tracing::warn!(%error, "waiting for Kafka");
            return Ok(());
        }
        Err(failed(what, error.clone()))
    }

    /// Reads up to [`STRIDE`] messages from one partition. Returns the number of messages.
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
                            self.malformed.read(1);
                            let admitted = batch.admit(event_time, record, || format!("{}@{offset}", lane.id));
                            lane.progress.read(offset, admitted.then_some(event_time), batch.now());
                        }
                        Err(NotDecoded::Poison(reason)) => {
                            lane.progress.read(offset, None, batch.now());
                            let origin = format!("{}@{offset}", lane.id);
                            self.malformed.refuse(batch, origin, reason, message.payload().unwrap_or_default())?;
                        }
                        Err(NotDecoded::Tombstone) => {
                            lane.progress.read(offset, None, batch.now());
                            self.malformed.read(1);
                            self.tombstones.add(1);
                            let origin = format!("{}@{offset}", lane.id);
                            let content = message.key().unwrap_or_default();
                            batch.dead_letter(DeadLetter::new(&self.name, origin, TOMBSTONE.to_owned(), content));
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

    /// Fills the batch. It always reads next from the partition that is furthest behind.
    fn fill(&mut self, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        let mut order = std::mem::take(&mut self.order);
        let mut result = Ok(());
        'batch: while batch.records().len() + batch.dead_letters().len() < Batch::<T>::LIMIT {
            reading_order(self.lanes.iter().map(|lane| &lane.progress), self.settings.max_drift, &mut order);
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

    /// Decides which partitions are idle, and advances the watermark to the lowest of the others.
    fn promise(&mut self, batch: &mut Batch<T>) {
        let now = batch.now();
        let mut lag = 0;
        let behind = furthest_behind(self.lanes.iter().map(|lane| &lane.progress));
        {
            let words = self.consumer.context().words();
            for lane in &mut self.lanes {
                let word = words.get(&lane.id).copied();
                let pending = word.map(|word| u64::try_from(word.end - lane.progress.place().next).unwrap_or(0));
                lag += pending.unwrap_or(0);
                lane.progress.judge(now, self.settings.idle_after, word);
                let state = lane.progress.state(behind, self.settings.max_drift);
                lane.metrics.set(state, lane.progress.watermark(), pending);
            }
        }
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        match self.lanes.iter().filter_map(|lane| lane.progress.holds()).min() {
            Some(watermark) => batch.advance_watermark(watermark),
            None => {
                // All partitions are idle, so the watermark may follow the latest record read.
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

impl<T: Data> SourceReader for KafkaReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        self.take_discoveries()?;
        self.fill(batch)?;
        // The events come after the messages: if some of these are from a new topic in place of the old one, the events
        // say so, and the batch is not emitted.
        self.serve()?;
        if let Some(remade) = self.consumer.context().topic_ids.remade() {
            return Err(remade.while_reading());
        }
        self.promise(batch);
        if self.settings.until_end && self.lanes.iter().all(|lane| lane.progress.is_done()) {
            return Ok(Next::Done);
        }
        let full = batch.records().len() + batch.dead_letters().len() >= Batch::<T>::LIMIT;
        Ok(if full { Next::Now } else { Next::After(LOOK) })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let topic_ids = &self.consumer.context().topic_ids;
        let places = self.lanes.iter().map(|lane| (lane.id.clone(), lane.progress.place()));
        position::encode(places, |topic| topic_ids.of(topic))
    }

    fn committed(&mut self, position: &[u8]) {
        if self.settings.group.is_none() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (id, place) in position::merge(&[position.to_vec()]).unwrap_or_default().places {
            drop(list.add_partition_offset(&id.topic, id.partition, Offset::Offset(place.next)));
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::warn!(%error, "offsets were not committed to the group; only lag monitors miss them");
        }
    }
}
