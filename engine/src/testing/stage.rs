//! The state that a test shares with the connectors of its job: the job's thread, its clock, and the waiting for
//! progress.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::must::must;
use crate::clock::Clock;
use crate::error::{ConnectorError, ErrorKind, JobError, panic_text};
use crate::graph::Flow;
use crate::locks::{lock, whole};
use crate::record::Arrival;
use crate::threads;
use crate::time::ProcessingTime;

pub(super) type Build = Arc<dyn for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync>;

/// Returns the time in the unit of a clock: microseconds, not before the Unix epoch.
pub(super) fn by_clock(at: ProcessingTime) -> Arrival {
    Arrival(u64::try_from(at.0).unwrap_or(0).saturating_mul(1000))
}

/// The cause of the error with which a source fails when a test crashes the job.
#[derive(Debug, thiserror::Error)]
#[error("as the test said")]
struct Crash;

/// Returns the error with which a source fails when a test crashes the job.
pub(super) fn crash() -> ConnectorError {
    ConnectorError::caused(ErrorKind::Unavailable, "the test crashed the job", Crash)
}

fn is_crash(error: &JobError) -> bool {
    let JobError::Connector { source, .. } = error else { return false };
    std::error::Error::source(source).is_some_and(|cause| cause.is::<Crash>())
}

/// The interface of a source to the stage.
pub(super) trait Driven: Send + Sync {
    /// Adds a step without effect.
    fn mark(&self);
    fn is_committed(&self) -> bool;
    fn end(&self);
    fn set_crashed(&self, crashed: bool);
    /// Swaps records that are no further apart than `within` in event time, and have no watermark between them.
    fn reorder(&self, within: Duration, chance: &mut ChaCha8Rng);
}

/// The interface of a sink to the stage.
pub(super) trait Gathered: Send + Sync {
    /// Returns the tokens of output that is prepared and not published.
    fn staged(&self) -> Vec<u64>;
}

/// The pace of a simulation, which decides when prepared input arrives, and learns of published output.
pub(super) trait Pace: Send + Sync {
    /// Returns whether the job has begun to run, so that no more input can be added.
    fn has_begun(&self) -> bool;
    /// Returns how many of the next `left` steps of a partition have arrived.
    fn arrived(&self, left: usize) -> usize;
    /// Returns the time after which a reader looks for new steps again.
    fn gap(&self) -> Duration;
    /// Notes that something was published.
    fn note(&self, what: &str);
}

/// The state that a test shares with the connectors of its job.
pub(super) struct Stage {
    clock: Clock,
    sources: Mutex<Vec<Arc<dyn Driven>>>,
    sinks: Mutex<Vec<Arc<dyn Gathered>>>,
    job: Mutex<Option<threads::Handle<Result<(), JobError>>>>,
    time_moved: AtomicBool,
    changed: Condvar,
    /// The mutex of the condition variable; it protects nothing.
    waiting: Mutex<()>,
    /// The pace of a simulation: then the job runs from its start to its end in one call, and no call waits.
    pace: Option<Arc<dyn Pace>>,
}

impl Stage {
    /// Time after which a job that makes no progress is stuck.
    const PATIENCE: Duration = Duration::from_secs(120);
    const LOOK: Duration = Duration::from_millis(5);
    /// Interval at which a reader looks for new steps.
    const POLL: Duration = Duration::from_millis(1);

    pub(super) fn new() -> Self {
        Self {
            clock: Clock::manual(Arrival(0)),
            sources: Mutex::default(),
            sinks: Mutex::default(),
            job: Mutex::default(),
            time_moved: AtomicBool::new(false),
            changed: Condvar::new(),
            waiting: Mutex::new(()),
            pace: None,
        }
    }

    /// Makes a stage for a simulation.
    pub(super) fn simulated(clock: Clock, pace: Arc<dyn Pace>) -> Self {
        Self { clock, pace: Some(pace), ..Self::new() }
    }

    /// Returns how many of the next `left` steps of a partition have arrived.
    pub(super) fn arrived(&self, left: usize) -> usize {
        self.pace.as_ref().map_or(left, |pace| pace.arrived(left))
    }

    /// Returns the time after which a reader looks for new steps again.
    pub(super) fn gap(&self) -> Duration {
        self.pace.as_ref().map_or(Self::POLL, |pace| pace.gap())
    }

    /// Notes that these records were published.
    pub(super) fn published(&self, records: &[impl std::fmt::Debug]) {
        if let Some(pace) = &self.pace {
            pace.note(&format!("{records:?}"));
        }
        self.changed.notify_all();
    }

    /// Prepares the sources of a simulation: they end with their present input, whose records are reordered at
    /// random.
    pub(super) fn prepare(&self, within: Duration, chance: &mut ChaCha8Rng) {
        for source in &*lock(&self.sources) {
            source.reorder(within, chance);
            source.end();
        }
    }

    pub(super) fn drive(&self, source: Arc<dyn Driven>) {
        lock(&self.sources).push(source);
    }

    pub(super) fn gather(&self, sink: Arc<dyn Gathered>) {
        lock(&self.sinks).push(sink);
    }

    /// Wakes waiting calls, after something was committed or published.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(super) fn time_moves(&self) {
        self.time_moved.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_clock(&self, to: Arrival) {
        self.clock.set(to.max(self.clock.now()));
        self.time_moves();
    }

    #[track_caller]
    pub(super) fn settle_if_time_moved(&self) {
        assert!(
            self.pace.as_ref().is_none_or(|pace| !pace.has_begun()),
            "the simulation has run: nothing comes in any more"
        );
        if self.pace.is_none() && self.time_moved.load(Ordering::Relaxed) {
            self.settle();
        }
    }

    #[track_caller]
    pub(super) fn settle(&self) {
        if self.pace.is_some() {
            return;
        }
        // Processing-time timers fire in the epoch after the one in which the clock was moved, hence two epochs.
        let epochs = 1 + usize::from(self.time_moved.swap(false, Ordering::Relaxed));
        for _ in 0..epochs {
            lock(&self.sources).iter().for_each(|source| source.mark());
            self.wait_until("input to be committed", || lock(&self.sources).iter().all(|s| s.is_committed()));
        }
        // All output of those epochs is staged by now; output that is staged later need not be waited for.
        let staged: Vec<Vec<u64>> = lock(&self.sinks).iter().map(|sink| sink.staged()).collect();
        self.wait_until("output to be published", || {
            let sinks = lock(&self.sinks);
            sinks.iter().zip(&staged).all(|(sink, then)| sink.staged().iter().all(|token| !then.contains(token)))
        });
    }

    pub(super) fn run(&self, job: impl FnOnce(Clock) -> Result<(), JobError> + Send + 'static) {
        lock(&self.sources).iter().for_each(|source| source.set_crashed(false));
        let clock = self.clock.clone();
        let started = threads::spawn("job".to_owned(), move || job(clock));
        *lock(&self.job) =
            Some(must(started.map_err(|source| JobError::Io { what: "start the job".to_owned(), source })));
    }

    #[track_caller]
    pub(super) fn finish(&self) {
        lock(&self.sources).iter().for_each(|source| source.end());
        must(self.join());
    }

    #[track_caller]
    pub(super) fn crash(&self) {
        match self.abandon() {
            Err(error) if !is_crash(&error) => must(Err(error)),
            _ => {}
        }
    }

    pub(super) fn abandon(&self) -> Result<(), JobError> {
        lock(&self.sources).iter().for_each(|source| source.set_crashed(true));
        self.join()
    }

    fn join(&self) -> Result<(), JobError> {
        let job = lock(&self.job).take();
        let ended = job.map_or(Ok(Ok(())), threads::Handle::join);
        ended.unwrap_or_else(|panic| {
            Err(JobError::Panicked { worker: 0, message: format!("the job's thread: {}", panic_text(&*panic)) })
        })
    }

    #[track_caller]
    pub(super) fn refused(&self) -> JobError {
        lock(&self.sources).iter().for_each(|source| source.mark());
        let all_committed = || lock(&self.sources).iter().all(|source| source.is_committed());
        match self.try_wait_until("a program to be refused", all_committed) {
            Err(error) => error,
            Ok(()) => panic!("the program was started, and is not refused"),
        }
    }

    #[track_caller]
    fn wait_until(&self, what: &str, done: impl Fn() -> bool) {
        must(self.try_wait_until(what, done));
    }

    #[track_caller]
    fn try_wait_until(&self, what: &str, done: impl Fn() -> bool) -> Result<(), JobError> {
        let mut looks = Self::PATIENCE.as_millis() / Self::LOOK.as_millis();
        while !done() {
            let running = lock(&self.job).as_ref().is_some_and(|job| !job.is_finished());
            if !running {
                // A job that ended without an error has committed and published everything.
                return self.join();
            }
            looks -= 1;
            assert!(looks > 0, "waited for {what} for {} s: the job is stuck", Self::PATIENCE.as_secs());
            let guard = lock(&self.waiting);
            drop(whole(self.changed.wait_timeout(guard, Self::LOOK)));
        }
        Ok(())
    }
}
