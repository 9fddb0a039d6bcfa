//! A whole job on the real engine, on a thread of its own, driven by a test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use tidemill_state::Rename;

use super::simulation::Schedule;
use super::{TestSink, TestSource, must};
use crate::clock::Clock;
use crate::error::JobError;
use crate::graph::Flow;
use crate::record::Data;
use crate::run::{Job, JobArgs};

pub(super) type Build = Arc<dyn for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync>;

/// Runs a whole program and lets a test do everything that the world does to it.
///
/// * Time: the watermark is moved by [`TestSource`]s, the wall clock by [`clock_ms`](Self::clock_ms).
/// * Guarantee: outputs are exactly those of a job that was never disturbed, each once; so they are after a crash.
/// * Cost: looking at output waits for one or two epochs of 20 ms.
///
/// ```
/// use tidemill_engine::testing::ProgramTest;
///
/// let mut test = ProgramTest::new();
/// let (numbers, large) = (test.source::<i64>(), test.sink::<i64>());
/// let (source, sink) = (numbers.clone(), large.clone());
/// test.start(2, move |flow| flow.source("numbers", &source)?.filter(|n| *n > 10).sink("large", &sink));
/// numbers.push(1, 12);
/// assert_eq!(large.output(), [12]);
/// numbers.push(2, 5);
/// numbers.push(3, 13);
/// test.crash(1); // and goes on with one worker
/// test.finish();
/// assert_eq!(large.output(), [13]);
/// ```
pub struct ProgramTest {
    stage: Arc<Stage>,
    build: Option<Build>,
    args: JobArgs,
    folder: PathBuf,
}

impl Default for ProgramTest {
    fn default() -> Self {
        Self::new()
    }
}

impl ProgramTest {
    /// A test that has not started yet. The clock stands at 0. Its checkpoints are in the system's folder for temporary
    /// files, and removed with it.
    #[must_use]
    pub fn new() -> Self {
        static TESTS: AtomicU64 = AtomicU64::new(0);
        let name = format!("tidemill-test-{}-{}", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let args = JobArgs {
            checkpoint_dir: Some(folder.join("checkpoints")),
            checkpoint_interval: Duration::from_millis(20),
            log_level: "error".to_owned(),
            ..JobArgs::default()
        };
        Self { stage: Arc::new(Stage::new()), build: None, args, folder }
    }

    /// A source to be filled by hand.
    #[must_use]
    pub fn source<T: Data>(&self) -> TestSource<T> {
        TestSource::new(Arc::clone(&self.stage))
    }

    /// A sink to be looked at.
    #[must_use]
    pub fn sink<T: Data>(&self) -> TestSink<T> {
        TestSink::new(Arc::clone(&self.stage))
    }

    /// Memory for keyed state, from the next start on: what is beyond it is in RocksDB.
    pub fn state_memory(&mut self, bytes: Option<u64>) {
        self.args.state_memory = bytes;
    }

    /// Starts the program, as [`Job::run`] would, on so many workers.
    ///
    /// # Panics
    /// When it has been started before.
    #[track_caller]
    pub fn start<F>(&mut self, workers: usize, build: F)
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        assert!(self.build.is_none(), "the program has been started: `crash` starts it again");
        self.build = Some(Arc::new(build));
        self.run(workers);
    }

    /// Kills the job, wherever it is, and starts it again from its last checkpoint with so many workers.
    ///
    /// # Panics
    /// When the job had stopped with an error, or does not start again.
    #[track_caller]
    pub fn crash(&mut self, workers: usize) {
        self.stage.crash();
        self.run(workers);
    }

    /// As [`crash`](Self::crash), and goes on with another program: the next version of it.
    ///
    /// # Panics
    /// As [`crash`](Self::crash), when the new program is started.
    #[track_caller]
    pub fn upgrade<F>(&mut self, workers: usize, build: F)
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        self.build = Some(Arc::new(build));
        self.crash(workers);
    }

    /// As [`upgrade`](Self::upgrade) to a program that must not start, because the checkpoint does not fit it. Returns the error
    /// that it ends with. [`crash`](Self::crash) goes on with the program before it.
    ///
    /// # Panics
    /// When it starts.
    #[track_caller]
    pub fn refused<F>(&mut self, workers: usize, build: F) -> JobError
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        let before = self.build.replace(Arc::new(build));
        self.crash(workers);
        self.build = before;
        self.stage.refused()
    }

    /// What the next starts say of names in the checkpoint, as `--renamed OLD=NEW` and `--drop-state NAME`.
    pub fn changes(&mut self, renamed: &[(&str, &str)], drop_state: &[&str]) {
        let rename = |(old, new): &(&str, &str)| Rename { old: (*old).to_owned(), new: (*new).to_owned() };
        self.args.renamed = renamed.iter().map(rename).collect();
        self.args.drop_state = drop_state.iter().map(|name| (*name).to_owned()).collect();
    }

    /// The wall clock moves to here, in ms since the Unix epoch. A step back is ignored. What was pushed and is not worked
    /// off yet sees the new time: [`settle`](Self::settle) first where it must not.
    pub fn clock_ms(&self, ms: u64) {
        self.stage.set_clock(ms.saturating_mul(1000));
    }

    /// Waits until everything that was done so far is worked off and committed. Records that wait for the watermark, as they do in
    /// event-time order, are in the checkpoint as such: [`TestSource::pass`] first where an operator is to have taken them in.
    ///
    /// # Panics
    /// When the job has stopped with an error.
    #[track_caller]
    pub fn settle(&self) {
        self.stage.settle();
    }

    /// Input ends, event time runs out, and so the job ends.
    ///
    /// # Panics
    /// When it ends with an error.
    #[track_caller]
    pub fn finish(&self) {
        self.stage.finish();
    }

    fn run(&self, workers: usize) {
        let (build, args) = (self.build.clone(), JobArgs { workers, ..self.args.clone() });
        self.stage.run(move |clock| {
            let build = build.ok_or_else(|| JobError::Invalid("the program has not been started".to_owned()))?;
            Job::new("test", args).clock(clock).run(move |flow| build(flow)).map(drop)
        });
    }
}

impl Drop for ProgramTest {
    /// A job that is still running is ended like by a crash.
    fn drop(&mut self) {
        drop(self.stage.abandon());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// What the stage knows of a source.
pub(super) trait Driven: Send + Sync {
    /// Adds a step that does nothing.
    fn mark(&self);
    fn is_committed(&self) -> bool;
    fn end(&self);
    fn set_crashed(&self, crashed: bool);
    /// Records that are no further apart than this in event time, and not parted by a watermark, change places.
    fn reorder(&self, within_ms: i64, chance: &mut ChaCha8Rng);
}

/// What the stage knows of a sink.
pub(super) trait Gathered: Send + Sync {
    /// What is prepared and not published.
    fn staged(&self) -> Vec<u64>;
}

/// What the test and the job's connectors share.
pub(super) struct Stage {
    clock: Clock,
    sources: Mutex<Vec<Arc<dyn Driven>>>,
    sinks: Mutex<Vec<Arc<dyn Gathered>>>,
    job: Mutex<Option<JoinHandle<Result<(), JobError>>>>,
    time_moved: AtomicBool,
    changed: Condvar,
    /// Held by who waits; nothing is in it.
    waiting: Mutex<()>,
    /// In a simulation: then the job runs from its start to its end at once, and nobody waits.
    schedule: Option<Arc<Schedule>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// A job that gets nothing done for so long is stuck.
    const PATIENCE: Duration = Duration::from_secs(120);
    const LOOK: Duration = Duration::from_millis(5);
    /// When a reader looks for new steps.
    const POLL: Duration = Duration::from_millis(1);

    fn new() -> Self {
        Self {
            clock: Clock::manual(0),
            sources: Mutex::default(),
            sinks: Mutex::default(),
            job: Mutex::default(),
            time_moved: AtomicBool::new(false),
            changed: Condvar::new(),
            waiting: Mutex::new(()),
            schedule: None,
        }
    }

    /// For a simulation.
    pub(super) fn simulated(clock: Clock, schedule: Arc<Schedule>) -> Self {
        Self { clock, schedule: Some(schedule), ..Self::new() }
    }

    /// How many of the next `left` steps of a partition are there to be read.
    pub(super) fn arrived(&self, left: usize) -> usize {
        self.schedule.as_ref().map_or(left, |schedule| schedule.arrived(left))
    }

    /// When a reader looks again.
    pub(super) fn gap(&self) -> Duration {
        self.schedule.as_ref().map_or(Self::POLL, |schedule| schedule.gap())
    }

    /// These records are published.
    pub(super) fn published(&self, records: &[impl std::fmt::Debug]) {
        if let Some(schedule) = &self.schedule {
            schedule.note(&format!("{records:?}"));
        }
        self.changed.notify_all();
    }

    /// The sources end where they are, and begin in an order of records that is drawn.
    pub(super) fn prepare(&self, within_ms: i64, chance: &mut ChaCha8Rng) {
        for source in &*lock(&self.sources) {
            source.reorder(within_ms, chance);
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

    fn set_clock(&self, micros: u64) {
        self.clock.set(micros.max(self.clock.now().0));
        self.time_moves();
    }

    #[track_caller]
    pub(super) fn settle_if_time_moved(&self) {
        assert!(
            self.schedule.as_ref().is_none_or(|s| !s.has_begun()),
            "the simulation has run: nothing comes in any more"
        );
        if self.schedule.is_none() && self.time_moved.load(Ordering::Relaxed) {
            self.settle();
        }
    }

    #[track_caller]
    pub(super) fn settle(&self) {
        if self.schedule.is_some() {
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

    fn run(&self, job: impl FnOnce(Clock) -> Result<(), JobError> + Send + 'static) {
        lock(&self.sources).iter().for_each(|source| source.set_crashed(false));
        let clock = self.clock.clone();
        *lock(&self.job) = Some(std::thread::spawn(move || job(clock)));
    }

    #[track_caller]
    fn finish(&self) {
        lock(&self.sources).iter().for_each(|source| source.end());
        must(self.join());
    }

    #[track_caller]
    fn crash(&self) {
        match self.abandon() {
            Err(error) if !error.report().contains("the test crashed the job") => must(Err(error)),
            _ => {}
        }
    }

    fn abandon(&self) -> Result<(), JobError> {
        lock(&self.sources).iter().for_each(|source| source.set_crashed(true));
        self.join()
    }

    fn join(&self) -> Result<(), JobError> {
        let job = lock(&self.job).take();
        let ended = job.map_or(Ok(Ok(())), JoinHandle::join);
        ended.unwrap_or_else(|_| Err(JobError::Invalid("the job's thread panicked".to_owned())))
    }

    #[track_caller]
    fn refused(&self) -> JobError {
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
            drop(self.changed.wait_timeout(guard, Self::LOOK).unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
    }
}
