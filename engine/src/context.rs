//! What the operators of one worker share, and what the workers of one process share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill_state::Backend;
use timely::scheduling::Activator;

use crate::budget::Budget;
use crate::checkpoint::epochs::Epochs;
use crate::checkpoint::restore::{BlobName, Start};
use crate::checkpoint::thread::Written;
use crate::clock::Clock;
use crate::error::JobError;
use crate::metrics::{Distribution, Metrics};
use crate::record::{Arrival, DeadLetter};
use crate::threads;
use crate::time::{Epoch, EventTime};

/// Shared by the worker threads of a process.
pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    /// Records that wait for the watermark in event-time ordered operators.
    pub(crate) held: AtomicI64,
    /// How many of them there may be before sources that are ahead of the slowest one wait for it.
    pub(crate) max_held: i64,
    /// How far a source may be ahead of the slowest one.
    pub(crate) max_drift_ms: Option<i64>,
    /// How far an event time may be ahead of the clock, where its source does not say.
    pub(crate) max_ahead_ms: Option<i64>,
    pub(crate) metrics: Metrics,
    pub(crate) source_clocks: SourceClocks,
    pub(crate) failure: Failure,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) progress: JobProgress,
}

/// Where the job stands, for whoever looks.
pub(crate) struct JobProgress {
    /// When the first epoch began: all workers were ready. By the job's clock, too.
    pub(crate) began: OnceLock<(Instant, Arrival)>,
    /// The incarnation of the process that leads, once the first epoch has begun.
    pub(crate) leader: Arc<OnceLock<u64>>,
    /// 0: nothing was restored, or it is not known yet what is.
    pub(crate) restored_epoch: AtomicU64,
    pub(crate) running_epoch: AtomicU64,
    /// 0: none yet.
    pub(crate) committed_epoch: AtomicU64,
    pub(crate) written: Written,
    /// By worker of this process.
    pub(crate) state: Vec<StateUse>,
    pub(crate) checkpoint_time: Distribution,
}

/// What the keyed state of a worker takes.
#[derive(Default)]
pub(crate) struct StateUse {
    pub(crate) bytes: AtomicU64,
    /// Whether that is all it may: sources wait until something was evicted.
    pub(crate) full: AtomicBool,
}

/// The first error of a process; later ones are its echoes.
#[derive(Default)]
pub(crate) struct Failure {
    failed: AtomicBool,
    first: Mutex<Option<JobError>>,
}

impl Failure {
    pub(crate) fn set(&self, error: JobError) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// What went wrong in this process, unless it only heard of it from another one.
    pub(crate) fn of_this_process(&self) -> Option<String> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().filter(|error| !matches!(error, JobError::Cluster(_))).map(JobError::report)
    }

    pub(crate) fn take(&self) -> Option<JobError> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How far each source instance of the process has come in event time, and other processes as a whole.
pub(crate) struct SourceClocks {
    here: RwLock<Vec<Arc<SourceClock>>>,
    /// By process: what it last told of its slowest; idle until it tells anything.
    elsewhere: Vec<SourceClock>,
}

/// One source instance.
pub(crate) struct SourceClock {
    watermark: AtomicI64,
    latest: AtomicI64,
    activity: AtomicU8,
}

/// How far a source has come, or the slowest of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    pub(crate) watermark: EventTime,
    /// The event time that the watermark rests on: it is behind it by how far out of order records may be.
    pub(crate) latest: EventTime,
}

impl Reach {
    const NOWHERE: Self = Self { watermark: EventTime::MIN, latest: EventTime::MIN };

    fn least(self, other: Self) -> Self {
        Self { watermark: self.watermark.min(other.watermark), latest: self.latest.min(other.latest) }
    }

    /// Where the watermark of an idle source may go that follows this one. When it has records again they may be as far behind
    /// as its own bound says, or they would be late only because of how far the other one is in order.
    fn followed_within(self, out_of_orderness_ms: i64) -> EventTime {
        self.watermark.min(self.latest.plus_ms(-out_of_orderness_ms))
    }
}

/// Whether a source instance counts for watermark alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    Active,
    Idle,
    Done,
}

impl SourceClock {
    fn new(reach: Reach, activity: Activity) -> Self {
        Self {
            watermark: AtomicI64::new(reach.watermark.0),
            latest: AtomicI64::new(reach.latest.0),
            activity: AtomicU8::new(activity as u8),
        }
    }

    pub(crate) fn set(&self, reach: Reach, activity: Activity) {
        self.watermark.store(reach.watermark.0, Ordering::Relaxed);
        self.latest.store(reach.latest.0, Ordering::Relaxed);
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    fn reach(&self) -> Reach {
        let [watermark, latest] = [&self.watermark, &self.latest].map(|time| EventTime(time.load(Ordering::Relaxed)));
        Reach { watermark, latest }
    }

    fn is(&self, activity: Activity) -> bool {
        self.activity.load(Ordering::Relaxed) == activity as u8
    }
}

impl SourceClocks {
    pub(crate) fn new(processes: usize) -> Self {
        let elsewhere = (0..processes).map(|_| SourceClock::new(Reach::NOWHERE, Activity::Idle)).collect();
        Self { here: RwLock::default(), elsewhere }
    }

    pub(crate) fn register(&self, reach: Reach) -> Arc<SourceClock> {
        let clock = Arc::new(SourceClock::new(reach, Activity::Active));
        self.here.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&clock));
        clock
    }

    /// The least that the active source instances of this process have reached; `None` when none is active.
    pub(crate) fn least_active_here(&self) -> Option<Reach> {
        let clocks = self.here.read().unwrap_or_else(PoisonError::into_inner);
        clocks.iter().filter(|clock| clock.is(Activity::Active)).map(|clock| clock.reach()).reduce(Reach::least)
    }

    /// The least that all active source instances have reached, as far as is known here.
    pub(crate) fn least_active(&self) -> Option<Reach> {
        let elsewhere = self.elsewhere.iter().filter(|clock| clock.is(Activity::Active)).map(SourceClock::reach);
        elsewhere.chain(self.least_active_here()).reduce(Reach::least)
    }

    /// Another process told of its slowest active source instances, or that none is active.
    pub(crate) fn hear(&self, process: usize, least: Option<Reach>) {
        if let Some(clock) = self.elsewhere.get(process) {
            let activity = if least.is_some() { Activity::Active } else { Activity::Idle };
            clock.set(least.unwrap_or(Reach::NOWHERE), activity);
        }
    }

    /// Where the watermark of a source instance may go that has nothing of its own to wait for: where the active ones are, or,
    /// when none is, where the furthest of this process is, so that what has been read is not held for ever.
    pub(crate) fn followed_within(&self, out_of_orderness_ms: i64) -> Option<EventTime> {
        if let Some(least) = self.least_active() {
            return Some(least.followed_within(out_of_orderness_ms));
        }
        let clocks = self.here.read().unwrap_or_else(PoisonError::into_inner);
        let open = clocks.iter().filter(|clock| !clock.is(Activity::Done));
        open.map(|clock| clock.reach().followed_within(out_of_orderness_ms)).max()
    }
}

/// Shared by the operators of a worker.
pub(crate) struct WorkerContext {
    pub(crate) process: Arc<Process>,
    /// Index among all workers, and their number.
    pub(crate) worker: usize,
    pub(crate) workers: usize,
    /// Workers per process.
    pub(crate) threads: usize,
    pub(crate) incarnation: u64,
    /// How long an epoch is; nothing in a job without checkpoints.
    pub(crate) checkpoint_interval: Option<Duration>,
    /// The first epoch of this incarnation.
    pub(crate) first_epoch: Epoch,
    pub(crate) backend: RefCell<Backend>,
    pub(crate) epochs: RefCell<Epochs>,
    pub(crate) start: Arc<Start>,
    /// Blobs of the restored epoch, by name, one per old worker that wrote it.
    pub(crate) restored: Arc<BTreeMap<String, Vec<Vec<u8>>>>,
    /// The sources and sinks of this program: `source/name`, `sink/name`.
    pub(crate) ends: RefCell<BTreeSet<String>>,
    /// Records that came from other processes and were consumed, by process: to be acknowledged.
    pub(crate) acknowledge: RefCell<Vec<usize>>,
    pub(crate) dead_letters_logged: Cell<u64>,
    pub(crate) alarms: RefCell<Alarms>,
}

impl WorkerContext {
    const DEAD_LETTERS_LOGGED: u64 = 10;

    /// The blobs that all old workers left under `name`.
    pub(crate) fn restored_blobs(&self, name: &str) -> &[Vec<u8>] {
        self.restored.get(name).map_or(&[], Vec::as_slice)
    }

    /// The operators that old workers left something of besides their states.
    pub(crate) fn restored_operators(&self) -> impl Iterator<Item = &str> {
        let names = self.restored.keys().filter_map(|blob| BlobName::of(blob)).filter(|name| name.kind == "operator");
        names.map(|name| name.operator)
    }

    /// Which process a worker is in.
    pub(crate) fn process_of(&self, worker: usize) -> usize {
        worker / self.threads
    }

    /// Records sent by `from` were consumed here.
    pub(crate) fn consumed(&self, from: usize, records: usize) {
        let process = self.process_of(from);
        if process == self.process_of(self.worker) {
            self.process.budget.release(records);
        } else if let Some(count) = self.acknowledge.borrow_mut().get_mut(process) {
            *count += records;
        }
    }

    /// Has an operator called again after `wait`. Timely's own alarms go by the machine's clock, whatever a simulation says.
    pub(crate) fn wake_after(&self, activator: &Activator, wait: Duration) {
        // What is further away than clocks go is never.
        if let Some(at) = threads::now().checked_add(wait) {
            self.alarms.borrow_mut().set(at, activator.clone());
        }
    }

    /// Runs `f`; an error stops the job. Returns whether it went well.
    pub(crate) fn guard<T>(&self, result: Result<T, JobError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.process.failure.set(error);
                None
            }
        }
    }

    /// Logs the first dead letters; the rest is counted only.
    pub(crate) fn log_dead_letter(&self, letter: &DeadLetter) {
        let logged = self.dead_letters_logged.get();
        if logged < Self::DEAD_LETTERS_LOGGED {
            self.dead_letters_logged.set(logged + 1);
            let DeadLetter { operator, origin, reason, content } = letter;
            tracing::warn!(operator, origin, reason, content, "dead letter");
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.process.failure.is_set()
    }
}

/// When operators of a worker want to be called again.
#[derive(Default)]
pub(crate) struct Alarms {
    /// By when, and how many were set before.
    set: BTreeMap<(Instant, u64), Activator>,
    count: u64,
}

impl Alarms {
    fn set(&mut self, at: Instant, activator: Activator) {
        self.count += 1;
        self.set.insert((at, self.count), activator);
    }

    /// Calls the operators whose time has come. Returns how long it is until the next one's has.
    pub(crate) fn ring(&mut self) -> Option<Duration> {
        let (first, _) = self.set.first_key_value()?;
        let now = threads::now();
        if first.0 <= now {
            let later = self.set.split_off(&(now, u64::MAX));
            std::mem::replace(&mut self.set, later).into_values().for_each(|activator| activator.activate());
        }
        self.set.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now))
    }
}

/// The worker's context as operators hold it.
pub(crate) type Shared = Rc<WorkerContext>;

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(watermark: i64, latest: i64) -> Reach {
        Reach { watermark: EventTime(watermark), latest: EventTime(latest) }
    }

    #[test]
    fn an_idle_source_follows_only_as_far_as_its_own_out_of_orderness_allows() {
        let clocks = SourceClocks::new(2);
        let strict = clocks.register(reach(100, 100));
        let loose = clocks.register(reach(20, 70));
        loose.set(reach(20, 70), Activity::Idle);
        assert_eq!(clocks.followed_within(50), Some(EventTime(50)), "50 behind what is latest");
        assert_eq!(clocks.followed_within(0), Some(EventTime(100)));
        // Following again and again comes no further.
        loose.set(reach(50, 100), Activity::Idle);
        strict.set(reach(100, 100), Activity::Idle);
        assert_eq!(clocks.followed_within(50), Some(EventTime(50)), "nobody is active");
        // What follows never passes whom it follows.
        clocks.hear(1, Some(reach(10, 90)));
        assert_eq!(clocks.followed_within(0), Some(EventTime(10)));
        assert_eq!(clocks.followed_within(85), Some(EventTime(5)));
    }
}
