//! What a connector implements to bring records in.
//!
//! ```text
//! Source (one per job, says what to read)
//!    └─ open ─▶ SourceReader (one per worker) ── read ─▶ Batch: records, watermark, dead letters
//!                                            └─ position ─▶ bytes, kept in each epoch's delta
//! ```
//! The engine owns capabilities, epochs, flow control and metrics; a reader only reads.

mod future;
mod nature;
mod operator;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::ConnectorError;
use crate::metrics::{Metrics, OperatorMetrics};
use crate::record::{Arrival, Data, DeadLetter, Record};
use crate::time::EventTime;

/// Something that records can be read from. Shared by all workers of a process.
///
/// What it says of its event times is asked once, before it is opened; a length of time that event time cannot be
/// measured in is refused then.
pub trait Source: Send + Sync + 'static {
    /// What it yields.
    type Item: Data;
    /// The reader of one worker.
    type Reader: SourceReader<Item = Self::Item>;

    /// Opens this worker's share. Called on every worker, before the first record.
    ///
    /// # Errors
    /// When the source is not there or not readable, or when a restored position does not fit it.
    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError>;

    /// Returns by how much its event times are ahead of those of other sources, by nature: what becomes known a week
    /// later is a week ahead. Sources that are aligned, or follow others while idle, are compared without it. Whole
    /// milliseconds; default: not at all.
    fn lead(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns how far behind the latest event time its records may be without being late: by this its watermark stays behind.
    /// While it is idle its watermark follows those of other sources, and stays as far behind *their* latest event times, so
    /// that records that it has then are not late either. Whole milliseconds; default: not at all.
    fn max_out_of_orderness(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns how far ahead of the job's clock (and of its [lead](Self::lead)) an event time may be. A record that is further
    /// ahead becomes a dead letter and moves no watermark. Whole milliseconds; `None`: as the job says ([`JobSettings::max_ahead`](crate::JobSettings::max_ahead)).
    fn max_ahead(&self) -> Option<Duration> {
        None
    }
}

/// What a source knows about the worker that opens it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceContext {
    /// The source's name in the job.
    pub name: String,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers over all processes: the source's work is dealt out among them.
    pub workers: usize,
    /// The positions that *all* workers of the restored checkpoint noted (their number may differ
    /// from `workers`), or nothing on a fresh start. Every worker gets all of them.
    pub restored: Vec<Vec<u8>>,
    /// The job's clock.
    pub clock: Clock,
    /// Has the reader called, from any thread: records are there before [`Next::After`] has passed.
    pub waker: Waker,
    /// What the source counts on this worker.
    pub metrics: Arc<OperatorMetrics>,
}

impl SourceContext {
    /// Makes the context of one of `workers` workers without a job, as tests of readers need it: nothing is restored, nobody
    /// is woken, and what is counted is its own. Its fields can be set.
    #[must_use]
    pub fn without_job(name: &str, worker: usize, workers: usize, clock: Clock) -> Self {
        let metrics = Metrics::default().operator(name, "source", worker);
        Self { name: name.to_owned(), worker, workers, restored: Vec::new(), clock, waker: Waker::default(), metrics }
    }
}

/// Has a reader called again soon. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waker(Option<Arc<dyn Fn() + Send + Sync>>);

impl Waker {
    /// A waker that calls `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wake)))
    }

    /// There is something to read.
    pub fn wake(&self) {
        if let Some(wake) = &self.0 {
            wake();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// One worker's share of a source.
///
/// # Contract (the engine relies on it)
/// * `read` does not block: what takes long happens on a thread of the connector's own.
/// * `position` describes exactly what `read` has handed out so far, no more and no less.
/// * Reopened at that position, the source hands out the rest: same records, same order per split.
pub trait SourceReader: 'static {
    /// What it yields.
    type Item: Data;

    /// Hands out what is there now, about [`Batch::LIMIT`] records at most, and says what to do next.
    ///
    /// # Errors
    /// When reading cannot go on. The job stops and can be restored. A record that cannot be decoded
    /// is no error but a [`Batch::dead_letter`].
    fn read(&mut self, batch: &mut Batch<Self::Item>) -> Result<Next, ConnectorError>;

    /// Where to go on after everything that was handed out, in the connector's own versioned encoding.
    ///
    /// # Errors
    /// When the position cannot be told.
    fn position(&self) -> Result<Vec<u8>, ConnectorError>;

    /// The epoch that ended at `position` is committed: whoever wants to know outside may be told.
    /// Nothing may rely on it: the checkpoint alone says where a restore goes on.
    fn committed(&mut self, position: &[u8]) {
        let _ = position;
    }
}

/// What the engine does after a [`SourceReader::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// There is more to read: call again as soon as the other operators had their turn.
    Now,
    /// Nothing right now: call again after this long.
    After(Duration),
    /// Nothing right now, and nothing that the job has to wait for: it ends when all other sources have. Until then, call
    /// again after this long. What was begun by then (a [`Now`](Self::Now)) is brought to its end.
    Accompany(Duration),
    /// Everything was handed out and nothing will ever come.
    Done,
}

/// What one [`SourceReader::read`] hands out. Reused from call to call.
#[derive(Debug)]
pub struct Batch<T> {
    pub(crate) records: Vec<Record<T>>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Records of the future, with where they came from.
    pub(crate) ahead: Vec<(Record<T>, String)>,
    /// What is after this is of the future.
    pub(crate) latest: EventTime,
    pub(crate) watermark: Option<EventTime>,
    pub(crate) idle: bool,
    pub(crate) now: Arrival,
    pub(crate) began: Arrival,
    pub(crate) reached: EventTime,
}

impl<T> Batch<T> {
    /// About how many records a `read` should hand out: enough to amortise a turn, not so many that
    /// other operators wait long.
    pub const LIMIT: usize = 1024;

    /// An empty batch. Readers are given one; tests of readers make their own.
    #[must_use]
    pub fn new(now: Arrival) -> Self {
        Self {
            records: Vec::new(),
            dead_letters: Vec::new(),
            ahead: Vec::new(),
            latest: EventTime::MAX,
            watermark: None,
            idle: false,
            now,
            began: now,
            reached: EventTime::MIN,
        }
    }

    /// Empties the batch for the next `read`.
    pub fn reset(&mut self, now: Arrival) {
        self.records.clear();
        self.dead_letters.clear();
        self.ahead.clear();
        self.watermark = None;
        self.idle = false;
        self.now = now;
    }

    /// The time of this `read`, by the job's clock.
    #[must_use]
    pub fn now(&self) -> Arrival {
        self.now
    }

    /// When the job began in this process: all workers were ready, and nothing had been read.
    #[must_use]
    pub fn began(&self) -> Arrival {
        self.began
    }

    /// Where the watermark of this share stands: as far as it was promised, or as others went while it was idle; after a restore
    /// also as far as any operator had come. A record of this `read` may be late if it is before it, and is not otherwise.
    #[must_use]
    pub fn reached(&self) -> EventTime {
        self.reached
    }

    /// Hands out a record that arrived just now.
    pub fn push(&mut self, event_time: EventTime, data: T) {
        self.push_arrived(event_time, self.now, data);
    }

    /// Hands out a record that arrived just now, unless it is further in the future than the job allows
    /// ([`Source::max_ahead`]): then it becomes a dead letter that names `origin`. Returns whether it was handed out. A
    /// reader that promises a watermark asks here first: an event time that was not handed out must not move it.
    #[must_use]
    pub fn admit(&mut self, event_time: EventTime, data: T, origin: impl FnOnce() -> String) -> bool {
        let record = Record { event_time, arrival: self.now, data };
        if event_time > self.latest {
            self.ahead.push((record, origin()));
            return false;
        }
        self.records.push(record);
        true
    }

    /// Hands out a record that arrived at `arrival` (an open-loop generator counts from when it was due).
    pub fn push_arrived(&mut self, event_time: EventTime, arrival: Arrival, data: T) {
        let record = Record { event_time, arrival, data };
        if event_time > self.latest {
            self.ahead.push((record, String::new()));
        } else {
            self.records.push(record);
        }
    }

    /// Promises that after this batch no record before `watermark` will come (one that does is late).
    /// The records of this batch itself may be earlier. A step back is ignored.
    pub fn advance_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(Some(watermark));
    }

    /// Says that this share has nothing to read for now, and that the watermark need not wait for it.
    /// Never for a share that has data waiting. Ends with the next batch that is not marked idle.
    pub fn mark_idle(&mut self) {
        self.idle = true;
    }

    /// Hands out what could not be decoded.
    pub fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters.push(letter);
    }

    /// The records handed out so far.
    #[must_use]
    pub fn records(&self) -> &[Record<T>] {
        &self.records
    }

    /// The dead letters handed out so far.
    #[must_use]
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// The watermark promised by this batch.
    #[must_use]
    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark
    }
}
