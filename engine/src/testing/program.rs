//! A whole job on the real engine, on a thread of its own, driven by a test.

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

/// Runs a whole program and lets a test do everything that the world does to it.
///
/// * Time: the watermark is moved by [`TestSource`]s, the wall clock by [`clock`](Self::clock).
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
    settings: JobSettings,
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
        let settings = JobSettings {
            checkpoint_dir: Some(folder.join("checkpoints")),
            checkpoint_interval: Duration::from_millis(20),
            ..JobSettings::default()
        };
        Self { stage: Arc::new(Stage::new()), build: None, settings, folder }
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
        self.settings.state_memory = bytes;
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

    /// What the next starts say of names in the checkpoint, as the settings `renamed` and `drop_state`.
    pub fn changes(&mut self, renamed: &[(&str, &str)], drop_state: &[&str]) {
        let rename = |(old, new): &(&str, &str)| Rename { old: (*old).to_owned(), new: (*new).to_owned() };
        self.settings.renamed = renamed.iter().map(rename).collect();
        self.settings.drop_state = drop_state.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Moves the job's clock to `to`. A step back is ignored. What was pushed and is not worked
    /// off yet sees the new time: [`settle`](Self::settle) first where it must not.
    pub fn clock(&self, to: ProcessingTime) {
        self.stage.set_clock(by_clock(to));
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
        let (build, settings) = (self.build.clone(), JobSettings { workers, ..self.settings.clone() });
        self.stage.run(move |clock| {
            let build = build.ok_or_else(|| JobError::Invalid("the program has not been started".to_owned()))?;
            Job::new("test", settings).clock(clock).run(move |flow| build(flow)).map(drop)
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
