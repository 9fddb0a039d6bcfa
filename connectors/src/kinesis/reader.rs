//! The reader of one worker's shards.

use std::time::Duration;

use tidemill_engine::metrics::{Gauge, PartitionState};
use tidemill_engine::source::{Batch, Next, SourceContext, SourceReader};
use tidemill_engine::{ConnectorError, Data, DeadLetter, EventTime};

use super::aggregate;
use super::api::StreamIdentity;
use super::lanes::{Lane, Lanes, Phase};
use super::message::{Decode, EventTimeOf, KinesisRecord, Received};
use super::position::{Origin, Read, Stored};
use crate::inbox::{SplitProgress, promise};
use crate::malformed::{MaxMalformed, Tolerated};
use crate::position;

/// Interval of reads if the reader is not woken, so that shards become idle.
const LOOK: Duration = Duration::from_millis(50);
/// Number of records taken from one shard before the next one is chosen.
const STRIDE: usize = 128;
/// The reason in the dead letter of a record that is in the wrong shard.
const MISPLACED: &str = "it came in a shard that does not have its key, because the stream was resharded; its producer (KPL) \
                         sends it again to the right one";

/// The reader of one worker of a [`KinesisSource`](super::KinesisSource).
pub struct KinesisReader<T> {
    identity: StreamIdentity,
    origin: Origin,
    idle_after: Duration,
    lanes: Lanes,
    records: Records<T>,
    taken: Vec<Received>,
    partitions: Gauge,
    behind: Gauge,
}

/// How records of the stream become those of the job.
struct Records<T> {
    /// The name of the source in dead letters.
    name: String,
    stream: String,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
    malformed: Tolerated,
}

/// What a reader reads, and how.
pub(super) struct Reading<T> {
    pub(super) stream: String,
    pub(super) decode: Decode<T>,
    pub(super) event_time: Option<EventTimeOf<T>>,
    pub(super) max_malformed: MaxMalformed,
    pub(super) idle_after: Duration,
}

impl<T: Data> KinesisReader<T> {
    pub(super) fn new(
        identity: StreamIdentity,
        origin: Origin,
        lanes: Lanes,
        reading: Reading<T>,
        context: &SourceContext,
    ) -> Self {
        let Reading { stream, decode, event_time, max_malformed, idle_after } = reading;
        let malformed = Tolerated::new(&context.name, max_malformed, "records");
        let records = Records { name: context.name.clone(), stream, decode, event_time, malformed };
        let (partitions, behind) = (context.metrics.gauge("partitions"), context.metrics.gauge("behind_latest_us"));
        Self { identity, origin, idle_after, lanes, records, taken: Vec::new(), partitions, behind }
    }

    /// Takes up to [`STRIDE`] records of a shard. Returns their number.
    fn drain(&mut self, id: &str, batch: &mut Batch<T>) -> Result<usize, ConnectorError> {
        let Lanes { pool, reading, .. } = &mut self.lanes;
        let Some(lane) = reading.get_mut(id).filter(|lane| lane.phase == Phase::Reading) else { return Ok(0) };
        let Some(drained) = pool.drain(id, STRIDE, &mut self.taken) else { return Ok(0) };
        let count = self.taken.len();
        for record in self.taken.drain(..) {
            self.records.hand_out(id, lane, &record, batch)?;
            let Received { sequence, arrived, .. } = record;
            lane.cursor.read_until = lane.cursor.read_until.max(Some(arrived));
            lane.cursor.read = Read::After { sequence, arrived };
        }
        lane.cursor.read_until = lane.cursor.read_until.max(drained.all_until);
        (lane.nothing_waits, lane.behind, lane.left) = (drained.nothing_waits, drained.behind, drained.left);
        if drained.ended {
            lane.phase = Phase::AtEnd { list: pool.request_list() };
        }
        Ok(count)
    }

    /// Fills the batch. It always reads next from the shard that is furthest behind in event time.
    fn fill(&mut self, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        while !is_full(batch) {
            let mut order: Vec<(EventTime, String)> =
                self.lanes.reading.iter().map(|(id, lane)| (lane.progress.watermark(), id.clone())).collect();
            order.sort_unstable();
            let mut taken = 0;
            for (_, id) in order {
                taken = self.drain(&id, batch)?;
                if taken > 0 {
                    break;
                }
            }
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Decides which shards are idle, and advances the watermark to the lowest of the others.
    fn promise(&mut self, batch: &mut Batch<T>) {
        let now = batch.now();
        let mut behind = Duration::ZERO;
        for lane in self.lanes.reading.values_mut() {
            let is_read = lane.phase == Phase::Reading;
            lane.progress.judge(now, self.idle_after, is_read && lane.nothing_waits);
            let state = if lane.progress.is_idle() { PartitionState::Idle } else { PartitionState::Active };
            lane.metrics.set(state, lane.progress.watermark(), Some(lane.left as u64));
            behind = behind.max(lane.behind);
        }
        self.partitions.set(self.lanes.reading.len() as i64);
        self.behind.set(i64::try_from(behind.as_micros()).unwrap_or(i64::MAX));
        promise(self.lanes.reading.values().map(|lane| &lane.progress), batch);
    }
}

fn is_full<T>(batch: &Batch<T>) -> bool {
    batch.records().len() + batch.dead_letters().len() >= Batch::<T>::LIMIT
}

impl<T: Data> Records<T> {
    /// Hands out a record, or each of those in it. They are never divided among two epochs, so a position needs no number of a
    /// record within a record.
    fn hand_out(
        &mut self,
        shard: &str,
        lane: &mut Lane,
        record: &Received,
        batch: &mut Batch<T>,
    ) -> Result<(), ConnectorError> {
        let Received { sequence, partition_key, data, arrived } = record;
        let place = format!("{}/{shard}@{sequence}", self.stream);
        let progress = &mut lane.progress;
        match aggregate::inner(data) {
            None => {
                let whole = KinesisRecord { shard, sequence, partition_key, data, arrived: *arrived };
                self.one(whole, progress, batch, || place.clone())
            }
            Some(Err(reason)) => {
                progress.read(None, batch.now());
                self.malformed.refuse(batch, place, reason, data)
            }
            Some(Ok(inner)) => {
                progress.read(None, batch.now());
                for (number, inner) in inner.iter().enumerate() {
                    let origin = || format!("{place}.{number}");
                    if !inner.belongs(&lane.hash_keys) {
                        batch.dead_letter(DeadLetter::new(&self.name, origin(), MISPLACED.to_owned(), inner.data));
                        continue;
                    }
                    let (partition_key, data) = (inner.partition_key, inner.data);
                    let part = KinesisRecord { shard, sequence, partition_key, data, arrived: *arrived };
                    self.one(part, progress, batch, origin)?;
                }
                Ok(())
            }
        }
    }

    fn one(
        &mut self,
        record: KinesisRecord<'_>,
        progress: &mut SplitProgress,
        batch: &mut Batch<T>,
        origin: impl Fn() -> String,
    ) -> Result<(), ConnectorError> {
        match (self.decode)(record) {
            Ok(decoded) => {
                let event_time = self.event_time.as_ref().map_or_else(|| record.arrival(), |of| of(&decoded));
                self.malformed.read(1);
                let admitted = batch.admit(event_time, decoded, origin);
                progress.read(admitted.then_some(event_time), batch.now());
                Ok(())
            }
            Err(reason) => {
                progress.read(None, batch.now());
                self.malformed.refuse(batch, origin(), reason, record.data())
            }
        }
    }
}

impl<T: Data> SourceReader for KinesisReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        self.lanes.advance(batch.now())?;
        self.fill(batch)?;
        if let Some(error) = self.lanes.pool.take_failure() {
            return Err(error);
        }
        self.promise(batch);
        Ok(if is_full(batch) { Next::Now } else { Next::After(LOOK) })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let (stream, shards) = (self.identity.clone(), self.lanes.end_epoch());
        position::encode(&Stored { stream, origin: self.origin, shards })
    }

    fn committed(&mut self, position: &[u8]) {
        // It is a position of this reader, so it can be read.
        if let Ok(Stored { shards, .. }) = position::decode(position) {
            self.lanes.committed(&shards);
        }
    }
}
