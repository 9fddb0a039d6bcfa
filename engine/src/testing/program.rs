//! A test of a whole job on the real engine, which runs on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidemill_state::Rename;

use super::sink::TestSink;
use super::source::TestSource;
use super::stage::{Build, Stage, by_clock};
use crate::error::JobError;
use crate::graph::Flow;
use crate::record::Data;
use crate::run::{Job, JobSettings};
use crate::time::ProcessingTime;

/// A test that runs a whole program, and controls its input, its time, its crashes and its upgrades.
///
/// * Time: the watermark is moved by [`TestSource`]s, the wall clock by [`clock`](Self::clock).
/// * Guarantee: outputs are exactly those of a job that was never disturbed, each once, even after a crash.
/// * Cost: reading output waits for one or two epochs of 20 ms.
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
    settings: JobSettings,
    folder: PathBuf,
}

impl Default for ProgramTest {
    fn default() -> Self {
        Self::new()
    }
}

impl ProgramTest {
    /// Makes a test whose program is not started yet. The clock starts at 0. Its checkpoints are in the system's
    /// directory for temporary files, and are removed when the test is dropped.
    #[must_use]
    pub fn new() -> Self {
        static TESTS: AtomicU64 = AtomicU64::new(0);
        let name = format!("tidemill-test-{}-{}", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let settings = JobSettings {
            checkpoint_dir: Some(folder.join("checkpoints")),
            checkpoint_interval: Duration::from_millis(20),
            ..JobSettings::default()
        };
        Self { stage: Arc::new(Stage::new()), build: None, settings, folder }
    }

    /// Makes a source that the test fills by hand.
    #[must_use]
    pub fn source<T: Data>(&self) -> TestSource<T> {
        TestSource::new(Arc::clone(&self.stage))
    }

    /// Makes a sink whose output the test reads.
    #[must_use]
    pub fn sink<T: Data>(&self) -> TestSink<T> {
        TestSink::new(Arc::clone(&self.stage))
    }

    /// Sets the memory for keyed state in bytes, from the next start on: state beyond it is evicted to RocksDB.
    pub fn state_memory(&mut self, bytes: Option<u64>) {
        self.settings.state_memory = bytes;
    }

    /// Starts the program, as [`Job::run`] would, on this many workers.
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

    /// Crashes the job, wherever it is, and starts it again from its last checkpoint with this many workers.
    ///
    /// # Panics
    /// When the job had stopped with an error, or does not start again.
    #[track_caller]
    pub fn crash(&mut self, workers: usize) {
        self.stage.crash();
        self.run(workers);
    }

    /// Crashes the job as [`crash`](Self::crash) does, and starts another program, its next version.
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

    /// Upgrades as [`upgrade`](Self::upgrade) does, to a program that must not start because the checkpoint does
    /// not fit it. Returns the error with which it ends. A [`crash`](Self::crash) after this goes on with the
    /// previous program.
    ///
    /// # Panics
    /// When the program starts.
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

    /// Sets `renamed` and `drop_state` of the settings, from the next start on.
    pub fn changes(&mut self, renamed: &[(&str, &str)], drop_state: &[&str]) {
        let rename = |(old, new): &(&str, &str)| Rename { old: (*old).to_owned(), new: (*new).to_owned() };
        self.settings.renamed = renamed.iter().map(rename).collect();
        self.settings.drop_state = drop_state.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Moves the job's clock to `to`. An earlier time is ignored. Records that were pushed and are not
    /// handled yet see the new time; call [`settle`](Self::settle) first if they must not.
    pub fn clock(&self, to: ProcessingTime) {
        self.stage.set_clock(by_clock(to));
    }

    /// Waits until everything that was done so far is handled and committed. Records that wait for the watermark,
    /// as they do in event-time order, are pending in the checkpoint; call [`TestSource::pass`] first if the
    /// operator has to handle them.
    ///
    /// # Panics
    /// When the job has stopped with an error.
    #[track_caller]
    pub fn settle(&self) {
        self.stage.settle();
    }

    /// Ends the input, and waits until the job has ended: event time runs to its end.
    ///
    /// # Panics
    /// When the job ends with an error.
    #[track_caller]
    pub fn finish(&self) {
        self.stage.finish();
    }

    fn run(&self, workers: usize) {
        let (build, settings) = (self.build.clone(), JobSettings { workers, ..self.settings.clone() });
        self.stage.run(move |clock| {
            let build = build.ok_or_else(|| JobError::Invalid("the program has not been started".to_owned()))?;
            Job::new("test", settings).clock(clock).run(move |flow| build(flow)).map(drop)
        });
    }
}

impl Drop for ProgramTest {
    /// Ends a job that is still running, as by a crash.
    fn drop(&mut self) {
        drop(self.stage.abandon());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
