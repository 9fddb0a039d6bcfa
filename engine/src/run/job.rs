//! A job: its settings, its workers, and its course from start to end.
//!
//! ```text
//! Job::run ─ check settings ─ connect processes ─ plan the restore, take over ─ start workers ─┬─ worker 0: build graph, step, …
//!              (no record is read before all of this has succeeded)                           └─ worker n: the same
//!         ◀─ report, or the first error ─ join ◀── end of input · a request to stop · failure
//! ```

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tidemill_state::{CheckpointStore, LocalStore, Rename, WorkDir};

use super::execution::Run;
#[cfg(feature = "http")]
use super::phase::Phase;
use super::settings::JobSettings;
use super::setup::JobSetup;
use super::workers;
#[cfg(feature = "http")]
use super::{exposition, health};
use crate::alignment::SourceClocks;
use crate::board::Boards;
use crate::checkpoint::bases::BasePolicy;
use crate::checkpoint::target::Written;
use crate::clock::Clock;
use crate::crash;
use crate::error::JobError;
use crate::graph::Flow;
#[cfg(feature = "http")]
use crate::http;
use crate::metrics::{Distribution, JobState, Metrics, Snapshot};
#[cfg(feature = "otlp")]
use crate::otlp::{Exporter, OtlpSettings};
use crate::spans::Tracer;
use crate::tap::Taps;
use crate::threads::Scheduler;
use crate::time::in_ms;
use crate::worker::{
    Budget, CheckpointCounts, CheckpointsAt, Failure, JobProgress, LeaderIncarnation, Pages, Process, StartTimes,
    StateUse,
};

/// A job: a dataflow program with a name and settings.
#[derive(Clone, Debug)]
pub struct Job {
    name: String,
    setup: JobSetup,
    clock: Clock,
}

impl Job {
    /// Makes a job. The name is part of its checkpoints: a checkpoint of another job is refused. The setup is a
    /// [`JobSettings`], or the [`JobArgs`](crate::JobArgs) of a command line: then the job also logs to stderr,
    /// and SIGINT and SIGTERM ask it to stop.
    #[must_use]
    pub fn new(name: &str, setup: impl Into<JobSetup>) -> Self {
        Self { name: name.to_owned(), setup: setup.into(), clock: Clock::system() }
    }

    /// Sets the job's clock, for tests and replays. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Declares that an operator, a source, a sink, or a state (as `operator/state`), which this program calls
    /// `new`, is called `old` in the checkpoint of an earlier program: it adds to [`JobSettings::renamed`].
    #[must_use]
    pub fn renamed(mut self, old: &str, new: &str) -> Self {
        self.setup.settings.renamed.push(Rename { old: old.to_owned(), new: new.to_owned() });
        self
    }

    /// Builds the graph with `build` on every worker and runs it until its input ends or it is asked
    /// to stop (then it finishes the epoch and leaves a checkpoint).
    ///
    /// Returns the last snapshot of the job, in the form that the status page has while the job runs: `state` is
    /// `Finished` when the input has ended and `Stopped` when the job was asked to stop; the metrics of its
    /// operators are those of this run and this process ([`Snapshot::operator`]). Results go to sinks.
    ///
    /// # Errors
    /// The first error of any worker, before or during the run. Committed epochs stay committed: the
    /// job can be run again and goes on from there.
    pub fn run<F>(self, build: F) -> Result<Snapshot, JobError>
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        let Self { setup, clock, .. } = &self;
        setup.settings.check()?;
        setup.settings.check_build()?;
        crash::plan()?;
        let stop = setup.prepare()?;
        let store = |dir: &PathBuf| LocalStore::open(dir).map(|store| Arc::new(store) as Arc<dyn CheckpointStore>);
        let incarnation = draw_incarnation(clock);
        #[cfg(feature = "otlp")]
        let exporter = self.export(incarnation)?;
        let world = World {
            clock: clock.clone(),
            incarnation,
            store: setup.settings.checkpoint_dir.as_ref().map(store).transpose()?,
            bases: BasePolicy::default(),
            stop,
            scheduler: None,
            #[cfg(feature = "otlp")]
            tracer: exporter.as_ref().map(Exporter::tracer),
            #[cfg(not(feature = "otlp"))]
            tracer: None,
        };
        let run = self.prepare(world)?;
        #[cfg(feature = "http")]
        let server = serve(&run)?;
        let result = workers::execute(&run, build);
        #[cfg(feature = "otlp")]
        exporter.into_iter().for_each(Exporter::end);
        let ended = if run.process.stop.load(Ordering::Relaxed) { JobState::Stopped } else { JobState::Finished };
        #[cfg(feature = "http")]
        server.into_iter().for_each(|server| server.end(ended, result.as_ref().err()));
        result.map(|()| run.snapshot(ended))
    }

    /// Runs the job in a simulated world, all in memory.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn simulate<F>(self, world: World, build: F) -> Result<(), JobError>
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        self.setup.settings.check()?;
        workers::execute(&self.prepare(world)?, build)
    }

    /// Starts to send spans, if a setting or a variable of the environment says where to.
    #[cfg(feature = "otlp")]
    fn export(&self, incarnation: u64) -> Result<Option<Exporter>, JobError> {
        let endpoint = self.setup.settings.otlp_endpoint.as_deref();
        let settings = OtlpSettings::of(&self.name, endpoint, &|name| std::env::var(name).ok())?;
        settings.map(|settings| Exporter::start(settings, self.clock.clone(), incarnation)).transpose()
    }

    fn prepare(self, world: World) -> Result<Arc<Run>, JobError> {
        let Self { name, setup, .. } = self;
        let settings = setup.settings;
        let start = StartTimes::begin();
        let World { clock, incarnation, store, bases, stop, scheduler, tracer } = world;
        let process = Arc::new(Process {
            budget: Budget::new(settings.max_in_flight),
            pending: AtomicI64::new(0),
            // By default a number of batches, so that sources need not advance in step.
            max_pending: i64::try_from(settings.max_in_flight / 10).unwrap_or(i64::MAX),
            max_ahead_ms: settings.max_ahead.map(in_ms),
            max_drift_ms: settings.max_drift.map(in_ms),
            metrics: Metrics::default(),
            topology: OnceLock::new(),
            taps: Taps::default(),
            boards: Boards::default(),
            checkpoint_wanted: AtomicBool::new(false),
            source_clocks: SourceClocks::new(settings.processes()),
            pages: Pages::default(),
            checkpoints_at: CheckpointsAt { dir: settings.checkpoint_dir.clone(), keep: settings.retain_checkpoints },
            control: Arc::default(),
            failure: Failure::default(),
            stop,
            progress: JobProgress {
                began: OnceLock::new(),
                leader: LeaderIncarnation::default(),
                start,
                restored_epoch: AtomicU64::new(0),
                running_epoch: Arc::default(),
                committed_epoch: AtomicU64::new(0),
                written: Written::default(),
                state: (0..settings.workers).map(|_| StateUse::default()).collect(),
                checkpoint_time: Distribution::new("checkpoint_us"),
                checkpoints: CheckpointCounts::default(),
                pulses: (0..settings.workers).map(|_| Arc::default()).collect(),
                finishing: AtomicBool::new(false),
            },
            clock,
        });
        let work_dir = match scheduler {
            None => Some(WorkDir::claim(&working_root(&settings), &format!("{incarnation:016x}"))?),
            Some(_) => None,
        };
        process.progress.start.end("folder");
        let refusals = Arc::default();
        Ok(Arc::new(Run { name, settings, incarnation, store, process, work_dir, bases, scheduler, refusals, tracer }))
    }
}

/// Serves the status page of `run`, if an address is set.
#[cfg(feature = "http")]
fn serve(run: &Arc<Run>) -> Result<Option<http::Server>, JobError> {
    let Some(address) = run.settings.http else { return Ok(None) };
    let settings = &run.settings;
    // Each of them looks at the same run.
    let of = || Arc::clone(run);
    let (snapshot, state, metrics, live, ready) = (of(), of(), of(), of(), of());
    let watched = http::Watched {
        job: run.name.clone(),
        workers: settings.all_workers(),
        processes: settings.processes(),
        hosts: settings.hosts.clone(),
        index: settings.process,
        settings: serde_json::to_value(settings).unwrap_or_default(),
        checkpoint_seconds: settings.checkpoint_interval.as_secs_f64(),
        checkpoint_dir: settings.checkpoint_dir.clone(),
        token_file: settings.http_token_file.clone(),
        names: settings.http_names.clone(),
        state_limit_bytes: settings.state_memory,
        started_ms: run.process.clock.processing_time().0,
        process: Arc::clone(&run.process),
        snapshot: Box::new(move || snapshot.snapshot(JobState::Running)),
        state: Box::new(move || Phase::of(&state).as_str()),
        metrics: Box::new(move |accept| exposition::metrics(&metrics, accept)),
        live: Box::new(move |verbose| health::live(&live, verbose).into()),
        ready: Box::new(move |verbose| health::ready(&ready, verbose).into()),
    };
    http::serve(address, watched).map(Some)
}

/// The surroundings of a job, which a simulation replaces.
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// A number that no other start of the job has.
    pub(crate) incarnation: u64,
    pub(crate) store: Option<Arc<dyn CheckpointStore>>,
    pub(crate) bases: BasePolicy,
    /// The flag that asks the job to stop.
    pub(crate) stop: Arc<AtomicBool>,
    /// The scheduler of a simulation. If it is set, each worker has a sorted map in memory in place of RocksDB.
    pub(crate) scheduler: Option<Arc<dyn Scheduler>>,
    /// Records spans, if they are sent to a collector.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// Returns the directory below which the RocksDB of each worker has its files.
fn working_root(settings: &JobSettings) -> PathBuf {
    match (&settings.checkpoint_dir, &settings.state_dir) {
        (Some(dir), _) => dir.join("local"),
        (None, Some(dir)) => dir.clone(),
        (None, None) => std::env::temp_dir().join("tidemill"),
    }
}

/// Draws a number that no other start of the job has; names of scratch files are made of it.
fn draw_incarnation(clock: &Clock) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((clock.now(), std::process::id()))
}
