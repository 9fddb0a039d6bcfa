//! The shards that a worker reads: which of them may begin, and which have ended.
//!
//! ```text
//! waits for its parents ─▶ reading ─▶ at its end ─ a later list says that it is closed ─▶ followed ─▶ gone
//!                             ▲           └─ it says that it is open (a broken answer) ─┐
//!                             └─────────────────────────────────────────────────────────┘
//! ```
//! A shard that has ended holds the watermark until all that came of it has begun with this watermark.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::metrics::{OperatorMetrics, PartitionMetrics, PartitionState};
use tidemill_engine::{Arrival, ConnectorError, EventTime};

use super::api::Shard;
use super::board::Board;
use super::cursor::Cursor;
use super::lineage::Lineage;
use super::pool::Pool;
use super::position::{Place, Places, Read};
use crate::inbox::SplitProgress;

/// What is done with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Reading,
    /// The service has said that nothing follows. The list of this number shows whether that is true.
    AtEnd {
        list: u64,
    },
    /// It has ended. What came of it may not have begun.
    Followed,
}

/// A shard as a worker reads it.
pub(super) struct Lane {
    pub(super) phase: Phase,
    pub(super) cursor: Cursor,
    pub(super) hash_keys: RangeInclusive<u128>,
    pub(super) progress: SplitProgress,
    pub(super) nothing_waits: bool,
    pub(super) behind: Duration,
    pub(super) left: usize,
    pub(super) metrics: PartitionMetrics,
}

impl Lane {
    fn place(&self) -> Place {
        let Cursor { read, read_until } = self.cursor.clone();
        let (watermark, quiet_since) = (self.progress.watermark().0, self.progress.quiet_since().0);
        Place { read, read_until, watermark, quiet_since }
    }
}

/// The shards of a worker.
pub(super) struct Lanes {
    stream: String,
    max_out_of_orderness: Duration,
    lineage: Lineage,
    board: Arc<Board>,
    metrics: Arc<OperatorMetrics>,
    pub(super) pool: Pool,
    pub(super) reading: BTreeMap<String, Lane>,
    /// The places of this worker's shards that are not being read.
    places: Places,
    /// The shards of all workers that had ended before this run, with their watermarks.
    ended_before: BTreeMap<String, EventTime>,
}

impl Lanes {
    /// Returns shards none of which has begun. `places` are those of all workers.
    pub(super) fn new(
        stream: &str,
        max_out_of_orderness: Duration,
        lineage: Lineage,
        mut places: Places,
        (board, pool, metrics): (Arc<Board>, Pool, Arc<OperatorMetrics>),
    ) -> Self {
        let ended = places.iter().filter(|(_, place)| place.read == Read::Ended);
        let ended_before = ended.map(|(id, place)| (id.clone(), EventTime(place.watermark))).collect();
        places.retain(|id, _| lineage.is_mine(id));
        let (stream, reading) = (stream.to_owned(), BTreeMap::new());
        Self { stream, max_out_of_orderness, lineage, board, metrics, pool, reading, places, ended_before }
    }

    /// Returns the places of all shards of this worker, at the end of an epoch.
    pub(super) fn end_epoch(&self) -> Places {
        self.board.end_epoch();
        let reading = self.reading.iter().map(|(id, lane)| (id.clone(), lane.place()));
        self.places.clone().into_iter().chain(reading).collect()
    }

    /// Notes that these places are committed.
    pub(super) fn committed(&self, places: &Places) {
        let ended = places.iter().filter(|(_, place)| place.read == Read::Ended);
        ended.for_each(|(id, _)| self.board.commit_end(id));
    }

    /// Takes a new list of shards, if there is one, and begins the shards that may begin.
    pub(super) fn advance(&mut self, now: Arrival) -> Result<(), ConnectorError> {
        if let Some((number, list)) = self.pool.take_list() {
            self.lineage.update(list);
            self.judge_ends(number)?;
            let lineage = &self.lineage;
            // What the stream no longer has cannot begin again.
            self.places.retain(|id, _| lineage.listed(id).is_some());
        }
        let is_new = |shard: &&Shard| {
            !self.reading.contains_key(&shard.id)
                && self.places.get(&shard.id).is_none_or(|place| place.read != Read::Ended)
        };
        let new = self.lineage.mine().filter(is_new);
        let may_begin = new.filter_map(|shard| Some((shard.clone(), self.watermark_for(shard)?)));
        for (shard, watermark) in may_begin.collect::<Vec<_>>() {
            self.begin(shard, watermark, now);
        }
        self.let_go();
        Ok(())
    }

    /// Decides which shards have ended, by the list that was asked for with this number.
    fn judge_ends(&mut self, number: u64) -> Result<(), ConnectorError> {
        for (id, lane) in &mut self.reading {
            match (lane.phase, self.lineage.listed(id)) {
                (Phase::Reading, None) => {
                    let (stream, read) = (&self.stream, described(&lane.cursor.read));
                    self.pool.missed(&format!(
                        "{stream}/{id} was {read}, and the stream no longer has it: records have expired unread"
                    ))?;
                }
                (Phase::AtEnd { list }, Some(shard)) if number >= list && !shard.closed => {
                    tracing::warn!(shard = %id, "an answer had no next iterator, and the shard is open: it is read on");
                    self.pool.begin(id, lane.cursor.clone());
                    lane.phase = Phase::Reading;
                    continue;
                }
                (Phase::AtEnd { list }, _) if number >= list => {}
                _ => continue,
            }
            tracing::info!(shard = %id, "a shard was read to its end");
            self.pool.end(id);
            (lane.phase, lane.cursor.read) = (Phase::Followed, Read::Ended);
            self.board.end(id, lane.progress.watermark());
        }
        Ok(())
    }

    /// Returns the watermark with which a shard begins, if it may.
    fn watermark_for(&self, shard: &Shard) -> Option<EventTime> {
        if let Some(place) = self.places.get(&shard.id) {
            return Some(EventTime(place.watermark));
        }
        // Those that the stream no longer has were read, or can be read no more.
        let parents = shard.parents.iter().filter(|parent| self.lineage.listed(parent).is_some());
        let watermarks: Option<Vec<EventTime>> = parents.map(|parent| self.watermark_of(parent)).collect();
        Some(watermarks?.into_iter().min().unwrap_or(EventTime::MIN))
    }

    /// Returns the watermark that a shard has handed on, if it has ended.
    fn watermark_of(&self, parent: &str) -> Option<EventTime> {
        if let Some(watermark) = self.ended_before.get(parent) {
            return Some(*watermark);
        }
        if self.lineage.is_mine(parent) {
            let lane = self.reading.get(parent).filter(|lane| lane.phase == Phase::Followed);
            let place = self.places.get(parent).filter(|place| place.read == Read::Ended);
            let watermark = lane.map(|lane| lane.progress.watermark());
            return watermark.or_else(|| place.map(|place| EventTime(place.watermark)));
        }
        match self.lineage.owner(parent) {
            Some(owner) if self.board.is_here(owner) => self.board.followed(parent),
            // Another process reads it, and cannot be asked.
            _ => Some(EventTime::MIN),
        }
    }

    fn begin(&mut self, shard: Shard, watermark: EventTime, now: Arrival) {
        let Shard { id, hash_keys, .. } = shard;
        let (cursor, quiet_since) = match self.places.remove(&id) {
            Some(Place { read, read_until, quiet_since, .. }) => (Cursor { read, read_until }, Arrival(quiet_since)),
            None => (Cursor { read: Read::Begin, read_until: None }, now),
        };
        tracing::debug!(shard = %id, from = described(&cursor.read), "reads");
        self.pool.begin(&id, cursor.clone());
        self.board.begin(&id);
        let lane = Lane {
            phase: Phase::Reading,
            cursor,
            hash_keys,
            progress: SplitProgress::new(watermark, quiet_since, self.max_out_of_orderness),
            nothing_waits: false,
            behind: Duration::ZERO,
            left: 0,
            metrics: self.metrics.partition(&format!("{}/{id}", self.stream)),
        };
        self.reading.insert(id, lane);
    }

    /// Lets go of shards that have ended and of which all that came has begun, as far as this process can know.
    fn let_go(&mut self) {
        let has_begun = |child: &str| {
            let is_here = self.lineage.owner(child).is_some_and(|owner| self.board.is_here(owner));
            !is_here || self.board.has_begun(child) || self.places.contains_key(child)
        };
        let is_done =
            |(id, lane): &(&String, &Lane)| lane.phase == Phase::Followed && self.lineage.children(id).all(has_begun);
        let done: Vec<String> = self.reading.iter().filter(is_done).map(|(id, _)| id.clone()).collect();
        for id in done {
            if let Some(lane) = self.reading.remove(&id) {
                lane.metrics.set(PartitionState::Done, lane.progress.watermark(), Some(0));
                self.places.insert(id, lane.place());
            }
        }
    }
}

/// Returns how far a shard was read, for messages.
pub(super) fn described(read: &Read) -> String {
    match read {
        Read::Begin => "not read yet".to_owned(),
        Read::After { sequence, .. } => format!("read up to sequence number {sequence}"),
        Read::Ended => "read to its end".to_owned(),
    }
}
