//! The reader of one worker's streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_engine::metrics::{Gauge, PartitionMetrics, PartitionState};
use tidemill_engine::source::{Batch, Next, SourceContext, SourceReader};
use tidemill_engine::{Arrival, ConnectorError, Data, EventTime};

use super::entry::{Decode, Entry, EntryId, EventTimeOf, StreamEntry};
use super::poller::{Ahead, Page, Poller};
use super::position::{self, StreamPosition};
use super::progress::Place;
use super::settings::Settings;
use crate::inbox::{SplitProgress, promise};
use crate::malformed::Tolerated;

/// Interval of reads if the reader is not woken, so that streams become idle.
const LOOK: Duration = Duration::from_millis(50);

/// A stream as a worker reads it.
struct Lane {
    key: String,
    place: Place,
    /// The last entry of a bounded read.
    end: Option<EntryId>,
    progress: SplitProgress,
    ahead: Arc<Ahead>,
    metrics: PartitionMetrics,
}

impl Lane {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.place.last >= end)
    }

    /// Notes that an entry of a page was taken.
    fn taken(&self) {
        self.ahead.in_pages.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream when it is opened.
pub(super) struct Opened {
    pub(super) key: String,
    pub(super) position: StreamPosition,
    /// The last entry of a bounded read.
    pub(super) end: Option<EntryId>,
}

/// The page that is being handed out.
struct Open {
    stream: usize,
    entries: std::vec::IntoIter<Entry>,
    /// The place behind the last of them.
    place: Place,
}

/// The reader of one worker of a [`RedisStreamSource`](super::RedisStreamSource).
pub struct RedisStreamReader<T> {
    settings: Settings,
    decode: Decode<T>,
    event_time: Option<EventTimeOf<T>>,
    lanes: Vec<Lane>,
    /// None on a worker that has no stream.
    poller: Option<Poller>,
    open: Option<Open>,
    malformed: Tolerated,
    lag: Gauge,
}

impl<T: Data> RedisStreamReader<T> {
    pub(super) fn new(
        settings: Settings,
        decode: Decode<T>,
        event_time: Option<EventTimeOf<T>>,
        streams: Vec<Opened>,
        context: &SourceContext,
    ) -> Result<Self, ConnectorError> {
        let lane = |Opened { key, position, end }| {
            let (watermark, quiet_since) = (EventTime(position.watermark), Arrival(position.quiet_since));
            let progress = SplitProgress::new(watermark, quiet_since, settings.max_out_of_orderness);
            let metrics = context.metrics.partition(&key);
            Lane { key, place: position.place, end, progress, ahead: Arc::default(), metrics }
        };
        let lanes: Vec<Lane> = streams.into_iter().map(lane).collect();
        let streams: Vec<_> =
            lanes.iter().map(|lane| (lane.key.clone(), lane.place, Arc::clone(&lane.ahead))).collect();
        let lost = context.metrics.counter("lost_entries");
        let start = || Poller::start(&settings, streams, context.waker.clone(), lost);
        let poller = if lanes.is_empty() { None } else { Some(start()?) };
        context.metrics.gauge("partitions").set(lanes.len() as i64);
        Ok(Self {
            malformed: Tolerated::new(&context.name, settings.max_malformed, "entries"),
            lag: context.metrics.gauge("lag_records"),
            settings,
            decode,
            event_time,
            lanes,
            poller,
            open: None,
        })
    }

    /// Hands out entries until the batch is full or none is there. Returns whether it is full.
    fn fill(&mut self, batch: &mut Batch<T>) -> Result<bool, ConnectorError> {
        loop {
            while let Some(open) = &mut self.open {
                if batch.records().len() + batch.dead_letters().len() >= Batch::<T>::LIMIT {
                    return Ok(true);
                }
                let (stream, place) = (open.stream, open.place);
                match open.entries.next() {
                    // What was added after a bounded read had begun is not part of it.
                    Some(entry) if !self.lanes[stream].is_done() => self.hand_out(stream, &entry, batch)?,
                    Some(_) => self.lanes[stream].taken(),
                    None => {
                        if !self.lanes[stream].is_done() {
                            self.lanes[stream].place = place;
                        }
                        self.open = None;
                    }
                }
            }
            match self.poller.as_ref().map_or(Ok(None), Poller::take)? {
                None => return Ok(false),
                Some(Page { stream, entries, place }) => {
                    // What is missing before these entries was accepted.
                    self.lanes[stream].place.passed =
                        place.passed.map(|passed| passed.saturating_sub(entries.len() as u64));
                    self.open = Some(Open { stream, entries: entries.into_iter(), place });
                }
            }
        }
    }

    fn hand_out(&mut self, stream: usize, entry: &Entry, batch: &mut Batch<T>) -> Result<(), ConnectorError> {
        let lane = &mut self.lanes[stream];
        lane.taken();
        lane.place = Place { last: entry.id, passed: lane.place.passed.map(|passed| passed + 1) };
        let now = batch.now();
        let origin = || format!("{}@{}", lane.key, entry.id);
        match (self.decode)(StreamEntry::new(&lane.key, entry)) {
            Ok(record) => {
                let added = || EventTime(i64::try_from(entry.id.ms).unwrap_or(i64::MAX));
                let event_time = self.event_time.as_ref().map_or_else(added, |of| of(&record));
                self.malformed.read(1);
                let is_admitted = batch.admit(event_time, record, origin);
                lane.progress.read(is_admitted.then_some(event_time), now);
            }
            Err(reason) => {
                let origin = origin();
                lane.progress.read(None, now);
                self.malformed.refuse(batch, origin, reason, &entry.content())?;
            }
        }
        Ok(())
    }

    /// Decides which streams are idle, and advances the watermark to the lowest of the others.
    fn promise(&mut self, batch: &mut Batch<T>) {
        let now = batch.now();
        let mut lag = 0;
        for lane in &mut self.lanes {
            let waiting = lane.ahead.waiting();
            let nothing_waits = lane.ahead.is_online.load(Ordering::Acquire) && waiting == 0;
            lane.progress.judge(now, self.settings.idle_after, nothing_waits || lane.is_done());
            let state = match (lane.is_done(), lane.progress.is_idle()) {
                (true, _) => PartitionState::Done,
                (_, true) => PartitionState::Idle,
                _ => PartitionState::Active,
            };
            lane.metrics.set(state, lane.progress.watermark(), Some(waiting));
            lag += waiting;
        }
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        promise(self.lanes.iter().filter(|lane| !lane.is_done()).map(|lane| &lane.progress), batch);
    }
}

impl<T: Data> SourceReader for RedisStreamReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        let is_full = self.fill(batch)?;
        if self.settings.until_end && self.lanes.iter().all(Lane::is_done) {
            return Ok(Next::Done);
        }
        self.promise(batch);
        Ok(if is_full { Next::Now } else { Next::After(LOOK) })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let of = |lane: &Lane| {
            let (watermark, quiet_since) = (lane.progress.watermark().0, lane.progress.quiet_since().0);
            (lane.key.clone(), StreamPosition { place: lane.place, watermark, quiet_since })
        };
        position::encode(self.lanes.iter().map(of).collect())
    }
}
