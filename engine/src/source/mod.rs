//! The traits that a connector implements to bring records in.
//!
//! ```text
//! Source (one per job, says what to read)
//!    └─ open ─▶ SourceReader (one per worker) ── read ─▶ Batch: records, watermark, dead letters
//!                                            └─ position ─▶ bytes, kept in each epoch's delta
//! ```
//! The engine handles capabilities, epochs, backpressure and metrics; a reader only reads.

mod change_events;
mod future;
mod nature;
mod operator;
mod reading;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::ConnectorError;
use crate::metrics::{Metrics, OperatorMetrics};
use crate::record::{Arrival, Data, DeadLetter, Record};
use crate::time::EventTime;

/// A source of records, shared by all workers of a process.
///
/// Its statements about its event times ([`lead`](Self::lead), …) are read once, before it is opened; a duration
/// that is not a whole number of milliseconds is refused then.
pub trait Source: Send + Sync + 'static {
    /// The data of the records that it reads.
    type Item: Data;
    /// The reader of one worker.
    type Reader: SourceReader<Item = Self::Item>;

    /// Opens this worker's share of the source. Called on every worker, before the first record.
    ///
    /// # Errors
    /// When the source does not exist or cannot be read, or when a restored position does not fit it.
    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError>;

    /// Returns how far the event times of this source are ahead of those of other sources, by nature: labels that
    /// become known a week later, say, are a week ahead. It is subtracted when sources are compared, be it for
    /// watermark alignment or because an idle one follows the others. Whole milliseconds; default: zero.
    fn lead(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns how far behind the latest event time its records may be without being late: the watermark stays
    /// behind by this much. While the source is idle, its watermark follows those of other sources and stays this
    /// far behind *their* latest event times, so that the records that end the idle time are not late either.
    /// Whole milliseconds; default: zero.
    fn max_out_of_orderness(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns how far ahead of the job's clock plus its [lead](Self::lead) an event time may be. A record that is
    /// further ahead becomes a dead letter and moves no watermark. Whole milliseconds; `None`, the default, means
    /// what is set for the job ([`JobSettings::max_ahead`](crate::JobSettings::max_ahead)).
    fn max_ahead(&self) -> Option<Duration> {
        None
    }
}

/// The worker that opens a source, and what it provides to the source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceContext {
    /// The source's name in the job.
    pub name: String,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers over all processes: the source's splits are distributed among them.
    pub workers: usize,
    /// The positions of *all* workers in the restored checkpoint (their number may differ from
    /// `workers`); empty on a fresh start. Every worker gets all of them.
    pub restored: Vec<Vec<u8>>,
    /// The job's clock.
    pub clock: Clock,
    /// Length of an epoch; `None` in a job without checkpoints, of which nothing outlives the process.
    pub checkpoint_interval: Option<Duration>,
    /// A waker that has the reader called again from any thread, when records arrive before [`Next::After`] has
    /// passed.
    pub waker: Waker,
    /// The metrics of the source on this worker.
    pub metrics: Arc<OperatorMetrics>,
}

impl SourceContext {
    /// Makes the context of one of `workers` workers without a job, for tests of readers: nothing is restored, there are no
    /// checkpoints, the waker does nothing, and the metrics are its own. Its fields can be set.
    #[must_use]
    pub fn without_job(name: &str, worker: usize, workers: usize, clock: Clock) -> Self {
        let metrics = Metrics::default().operator(name, "source", worker);
        Self {
            name: name.to_owned(),
            worker,
            workers,
            restored: Vec::new(),
            clock,
            checkpoint_interval: None,
            waker: Waker::default(),
            metrics,
        }
    }
}

/// A handle that has a reader called again soon. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waker(Option<Arc<dyn Fn() + Send + Sync>>);

impl Waker {
    /// Makes a waker that calls `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wake)))
    }

    /// Has the reader called, since there is something to read.
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

/// The reader of one worker's share of a source.
///
/// # Contract (the engine relies on it)
/// * `read` does not block: anything that takes long happens on a thread of the connector.
/// * `position` describes exactly the records that `read` has handed out so far, no more and no less.
/// * Reopened at that position, the source hands out the rest: same records, same order per split.
pub trait SourceReader: 'static {
    /// The data of the records that it reads.
    type Item: Data;

    /// Hands out the records that are available now, about [`Batch::LIMIT`] at most, and returns what to do next.
    ///
    /// # Errors
    /// When reading cannot go on. The job stops and can be restored. A record that cannot be decoded
    /// is not an error but a [`Batch::dead_letter`].
    fn read(&mut self, batch: &mut Batch<Self::Item>) -> Result<Next, ConnectorError>;

    /// Returns the position after everything that was handed out, where reading goes on, in the connector's own
    /// versioned encoding.
    ///
    /// # Errors
    /// When the position cannot be determined.
    fn position(&self) -> Result<Vec<u8>, ConnectorError>;

    /// Called when the epoch that ended at `position` is committed, so that the position can be shown to the
    /// outside, as the offsets of a consumer group, or what was read acknowledged. Also called for the last epoch of a
    /// job that ends in order, and not after a crash: a restore goes on from the checkpoint alone, and what it
    /// restores is committed.
    fn committed(&mut self, position: &[u8]) {
        let _ = position;
    }
}

/// The next action of the engine after a [`SourceReader::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// There is more to read: call again as soon as the other operators have had their turn.
    Now,
    /// There is nothing to read right now: call again after this long.
    After(Duration),
    /// There is nothing to read right now, and nothing that the job has to wait for: the job ends when all other
    /// sources have ended. Until then, call again after this long. Then it is called for a last time, and reading that is
    /// under way (a [`Now`](Self::Now)) is completed.
    Accompany(Duration),
    /// Everything has been handed out, and no record will come any more.
    Done,
}

/// The records and dead letters that one [`SourceReader::read`] hands out. Reused from call to call.
#[derive(Debug)]
pub struct Batch<T> {
    pub(crate) records: Vec<Record<T>>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Records too far in the future, each with its origin.
    pub(crate) ahead: Vec<(Record<T>, String)>,
    /// The latest event time that is not too far in the future.
    pub(crate) latest: EventTime,
    pub(crate) watermark: Option<EventTime>,
    pub(crate) idle: bool,
    pub(crate) now: Arrival,
    pub(crate) began: Arrival,
    pub(crate) reached: EventTime,
}

impl<T> Batch<T> {
    /// The number of records that a `read` should hand out at most, roughly: enough to amortise a turn,
    /// and few enough that other operators do not wait long.
    pub const LIMIT: usize = 1024;

    /// Makes an empty batch. The engine passes one to its readers; tests of readers make their own.
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

    /// Returns the time of this `read`, by the job's clock.
    #[must_use]
    pub fn now(&self) -> Arrival {
        self.now
    }

    /// Returns the time when the job began in this process: all workers were ready, and nothing had been read.
    #[must_use]
    pub fn began(&self) -> Arrival {
        self.began
    }

    /// Returns the watermark that this share has reached: by its own promises, or by following the others while it
    /// was idle, and after a restore at least the watermark that any operator had reached. A record of this `read`
    /// may be late only if it is before this watermark.
    #[must_use]
    pub fn reached(&self) -> EventTime {
        self.reached
    }

    /// Hands out a record that arrived just now. One that is further in the future than the job allows becomes a dead
    /// letter without a more exact origin than the source: see [`admit`](Self::admit).
    pub fn push(&mut self, event_time: EventTime, data: T) {
        self.push_arrived(event_time, self.now, data);
    }

    /// Hands out a record that arrived just now, unless it is further in the future than the job allows
    /// ([`Source::max_ahead`]): then it becomes a dead letter that names `origin`. Returns whether it was handed
    /// out. A reader that derives its watermark from event times uses this method: an event time that was not
    /// handed out must not move the watermark.
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

    /// Hands out a record that arrived at `arrival` (for an open-loop generator, the time at which it was due).
    pub fn push_arrived(&mut self, event_time: EventTime, arrival: Arrival, data: T) {
        let record = Record { event_time, arrival, data };
        if event_time > self.latest {
            self.ahead.push((record, String::new()));
        } else {
            self.records.push(record);
        }
    }

    /// Promises that after this batch no record before `watermark` will come (a record that does is late).
    /// The records of this batch itself may be earlier. An earlier watermark than before is ignored.
    pub fn advance_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(Some(watermark));
    }

    /// Marks this share as idle: it has nothing to read for now, and the watermark need not wait for it.
    /// Must not be called for a share that has data waiting. The next batch that is not marked ends the idle time.
    pub fn mark_idle(&mut self) {
        self.idle = true;
    }

    /// Hands out a dead letter, for input that could not be decoded.
    pub fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters.push(letter);
    }

    /// Returns the records handed out so far.
    #[must_use]
    pub fn records(&self) -> &[Record<T>] {
        &self.records
    }

    /// Returns the dead letters handed out so far.
    #[must_use]
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// Returns the watermark promised by this batch, if it promised one.
    #[must_use]
    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark
    }
}
