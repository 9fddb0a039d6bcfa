//! What a test and the connectors of its job share: the job's thread, its clock, and who waits for what.

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

/// Returns the time as a clock has it: in microseconds, not before the Unix epoch.
pub(super) fn by_clock(at: ProcessingTime) -> Arrival {
    Arrival(u64::try_from(at.0).unwrap_or(0).saturating_mul(1000))
}

/// Why a source fails that a test has crash.
#[derive(Debug, thiserror::Error)]
#[error("as the test said")]
struct Crash;

/// The error of a source that a test has crash.
pub(super) fn crash() -> ConnectorError {
    ConnectorError::caused(ErrorKind::Unavailable, "the test crashed the job", Crash)
}

fn is_crash(error: &JobError) -> bool {
    let JobError::Connector { source, .. } = error else { return false };
    std::error::Error::source(source).is_some_and(|cause| cause.is::<Crash>())
}

/// What the stage knows of a source.
pub(super) trait Driven: Send + Sync {
    /// Adds a step that does nothing.
    fn mark(&self);
    fn is_committed(&self) -> bool;
    fn end(&self);
    fn set_crashed(&self, crashed: bool);
    /// Records that are no further apart than this in event time, and not parted by a watermark, change places.
    fn reorder(&self, within: Duration, chance: &mut ChaCha8Rng);
}

/// What the stage knows of a sink.
pub(super) trait Gathered: Send + Sync {
    /// What is prepared and not published.
    fn staged(&self) -> Vec<u64>;
}

/// When what a test has prepared is there, in a simulation, which is told what comes of it.
pub(super) trait Pace: Send + Sync {
    /// Whether the job has run: nothing comes in any more.
    fn has_begun(&self) -> bool;
    /// How many of the next `left` steps of a partition are there to be read.
    fn arrived(&self, left: usize) -> usize;
    /// When a reader looks again.
    fn gap(&self) -> Duration;
    /// Something was published.
    fn note(&self, what: &str);
}

/// What the test and the job's connectors share.
pub(super) struct Stage {
    clock: Clock,
    sources: Mutex<Vec<Arc<dyn Driven>>>,
    sinks: Mutex<Vec<Arc<dyn Gathered>>>,
    job: Mutex<Option<threads::Handle<Result<(), JobError>>>>,
    time_moved: AtomicBool,
    changed: Condvar,
    /// Held by who waits; nothing is in it.
    waiting: Mutex<()>,
    /// In a simulation: then the job runs from its start to its end at once, and nobody waits.
    pace: Option<Arc<dyn Pace>>,
}

impl Stage {
    /// A job that gets nothing done for so long is stuck.
    const PATIENCE: Duration = Duration::from_secs(120);
    const LOOK: Duration = Duration::from_millis(5);
    /// When a reader looks for new steps.
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

    /// For a simulation.
    pub(super) fn simulated(clock: Clock, pace: Arc<dyn Pace>) -> Self {
        Self { clock, pace: Some(pace), ..Self::new() }
    }

    /// How many of the next `left` steps of a partition are there to be read.
    pub(super) fn arrived(&self, left: usize) -> usize {
        self.pace.as_ref().map_or(left, |pace| pace.arrived(left))
    }

    /// When a reader looks again.
    pub(super) fn gap(&self) -> Duration {
        self.pace.as_ref().map_or(Self::POLL, |pace| pace.gap())
    }

    /// These records are published.
    pub(super) fn published(&self, records: &[impl std::fmt::Debug]) {
        if let Some(pace) = &self.pace {
            pace.note(&format!("{records:?}"));
        }
        self.changed.notify_all();
    }

    /// The sources end where they are, and begin in an order of records that is drawn.
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

    /// Something was committed or published.
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
        // Processing-time timers fire in the epoch after the one in which the clock was moved.
        let epochs = 1 + usize::from(self.time_moved.swap(false, Ordering::Relaxed));
        for _ in 0..epochs {
            lock(&self.sources).iter().for_each(|source| source.mark());
            self.wait_until("input to be committed", || lock(&self.sources).iter().all(|s| s.is_committed()));
        }
        // All output of those epochs is staged by now; that of later ones will be published as well.
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
                // One that ended well has committed and published everything.
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
