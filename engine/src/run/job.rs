//! A job: the settings, the workers, and what happens between start and end.
//!
//! ```text
//! Job::run ─ check settings ─ connect processes ─ plan the restore, take over ─ start workers ─┬─ worker 0: build graph, step, …
//!              (no record is read before all of this is right)                                └─ worker n: the same
//!         ◀─ report, or the first error ─ join ◀── end of input · SIGINT/SIGTERM · failure
//! ```

use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tidemill_state::{
    Backend, BackendConfig, CheckpointStore, KeyGroups, LocalStore, Rename, RestoredWorker, Workplace,
};
use timely::WorkerConfig;
use timely::worker::Worker;

use super::cluster;
use super::coordinator::{Coordinator, ManifestHead};
use super::http;
use super::mesh::{self, Mesh, Refusals};
use super::settings::JobArgs;
use crate::alignment::SourceClocks;
use crate::checkpoint::bases::BasePolicy;
use crate::checkpoint::restore::{self, Agreement, Start, Starting};
use crate::checkpoint::target::Written;
use crate::checkpoint::thread::CheckpointThread;
use crate::checkpoint::unclaimed;
use crate::clock::Clock;
use crate::crash;
use crate::epoch::Epochs;
use crate::error::JobError;
use crate::graph::Flow;
use crate::metrics::{Distribution, Metrics, Snapshot};
use crate::threads::{self, Director};
use crate::worker::{Budget, Failure, JobProgress, Process, Shared, StateUse, WorkerContext};

/// Connections to the other processes, by process; none in a job of one.
type Sockets = Vec<Option<TcpStream>>;

/// A dataflow program with a name and settings.
#[derive(Clone, Debug)]
pub struct Job {
    name: String,
    args: JobArgs,
    clock: Clock,
}

impl Job {
    /// A job. The name is part of its checkpoints: a checkpoint of another job is refused.
    #[must_use]
    pub fn new(name: &str, args: JobArgs) -> Self {
        Self { name: name.to_owned(), args, clock: Clock::system() }
    }

    /// Runs by another clock (tests, replays).
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What is called `new` in this program (an operator, a source, a sink, or a state as `operator/state`) is called `old` in
    /// the checkpoint of an earlier one: as `--renamed`.
    #[must_use]
    pub fn renamed(mut self, old: &str, new: &str) -> Self {
        self.args.renamed.push(Rename { old: old.to_owned(), new: new.to_owned() });
        self
    }

    /// Builds the graph with `build` on every worker and runs it until its input ends or it is asked
    /// to stop (SIGINT, SIGTERM: the epoch is finished and a checkpoint left behind).
    ///
    /// Returns the last report of the job, as the status page has it while the job runs: `state` is `finished` when input has
    /// ended, `stopped` when the job was asked to; its operators have what they counted in this run and process
    /// ([`Snapshot::operator`]). Results go to sinks.
    ///
    /// # Errors
    /// The first error of any worker, before or while it runs. What was committed stays committed: the
    /// job can be run again and goes on from there.
    pub fn run<F>(self, build: F) -> Result<Snapshot, JobError>
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        let Self { args, clock, .. } = &self;
        args.check()?;
        crash::plan()?;
        start_logging(&args.log_level)?;
        let store = |dir: &PathBuf| LocalStore::open(dir).map(|store| Arc::new(store) as Arc<dyn CheckpointStore>);
        let world = World {
            clock: clock.clone(),
            incarnation: draw_incarnation(clock),
            store: args.checkpoint_dir.as_ref().map(store).transpose()?,
            bases: BasePolicy::default(),
            stop: stop_on_signals()?,
            director: None,
        };
        let run = self.prepare(world)?;
        let looked_at = Arc::clone(&run);
        let look = move || looked_at.snapshot("running");
        let page = run.args.http.map(|address| http::serve(address, look)).transpose()?;
        let result = run.execute(build);
        drop(page);
        let ended = if run.process.stop.load(Ordering::Relaxed) { "stopped" } else { "finished" };
        result.map(|()| run.snapshot(ended))
    }

    /// Runs in a simulated world, all in memory.
    pub(crate) fn simulate<F>(self, world: World, build: F) -> Result<(), JobError>
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        self.args.check()?;
        self.prepare(world)?.execute(build)
    }

    fn prepare(self, world: World) -> Result<Arc<Run>, JobError> {
        let Self { name, args, .. } = self;
        let World { clock, incarnation, store, bases, stop, director } = world;
        let process = Arc::new(Process {
            budget: Budget::new(args.max_in_flight),
            held: AtomicI64::new(0),
            // Some batches by default, so that sources need not go in step.
            max_held: i64::try_from(args.max_in_flight / 10).unwrap_or(i64::MAX),
            max_ahead_ms: args.max_ahead.map(|ahead| i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)),
            max_drift_ms: args.max_drift.map(|drift| i64::try_from(drift.as_millis()).unwrap_or(i64::MAX)),
            metrics: Metrics::default(),
            source_clocks: SourceClocks::new(args.hosts.len().max(1)),
            failure: Failure::default(),
            stop,
            progress: JobProgress {
                began: OnceLock::new(),
                leader: Arc::default(),
                restored_epoch: AtomicU64::new(0),
                running_epoch: AtomicU64::new(0),
                committed_epoch: AtomicU64::new(0),
                written: Written::default(),
                state: (0..args.workers).map(|_| StateUse::default()).collect(),
                checkpoint_time: Distribution::new(),
            },
            clock,
        });
        let workplace = match director {
            None => Some(Workplace::claim(&working_root(&args), &format!("{incarnation:016x}"))?),
            Some(_) => None,
        };
        let refusals = Arc::default();
        Ok(Arc::new(Run { name, args, incarnation, store, process, workplace, bases, director, refusals }))
    }
}

/// What a job has to do with that is not its own.
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// A number no other start of the job has.
    pub(crate) incarnation: u64,
    pub(crate) store: Option<Arc<dyn CheckpointStore>>,
    pub(crate) bases: BasePolicy,
    /// Set by whoever wants the job to stop.
    pub(crate) stop: Arc<AtomicBool>,
    /// Whoever simulates all this. Then the workers' RocksDBs are in memory.
    pub(crate) director: Option<Arc<dyn Director>>,
}

/// One execution of a job in this process.
pub(crate) struct Run {
    name: String,
    args: JobArgs,
    incarnation: u64,
    store: Option<Arc<dyn CheckpointStore>>,
    process: Arc<Process>,
    /// Where RocksDB works; none in memory.
    workplace: Option<Workplace>,
    bases: BasePolicy,
    director: Option<Arc<dyn Director>>,
    /// Who was refused while the processes of the job connected.
    refusals: Arc<Refusals>,
}

impl Run {
    fn execute<F>(self: &Arc<Self>, build: F) -> Result<(), JobError>
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        // Kept where the error comes later, from another process.
        let mut decided = None;
        let result = self.begin(&mut decided).and_then(|sockets| match &decided {
            Some(start) => run_workers(self, start, sockets, build),
            None => Ok(()),
        });
        if let (Err(_), Some(start)) = (&result, &decided) {
            start.give_back(self.workplace.as_ref().is_none_or(|workplace| workplace.is_the_only_one()));
        }
        result
    }

    /// Connects the processes of the job, and decides with them what they start from.
    fn begin(&self, decided: &mut Option<Arc<Start>>) -> Result<Sockets, JobError> {
        let starting = Starting {
            job: &self.name,
            restore: &self.args.restore,
            key_groups: self.args.key_groups,
            changes: self.args.changes(),
            keep: self.args.retain_checkpoints,
            incarnation: self.incarnation,
            now_ms: self.process.clock.now_ms(),
            store: self.store.clone(),
        };
        let mut decide = |agreement: Option<&Agreement>| {
            let start = match agreement {
                None => restore::lead(&starting)?,
                Some(agreement) => restore::follow(&starting, agreement)?,
            };
            let agreement = start.agreement(self.incarnation);
            *decided = Some(Arc::new(start));
            Ok((agreement, ()))
        };
        let sockets = if self.args.hosts.len() > 1 {
            mesh::form(&self.mesh(), decide)?.0
        } else {
            decide(None)?;
            Sockets::new()
        };
        if let Some(start) = decided {
            let progress = &self.process.progress;
            progress.restored_epoch.store(start.restored_epoch().0, Ordering::Relaxed);
            progress.committed_epoch.store(start.restored_epoch().0, Ordering::Relaxed);
            progress.running_epoch.store(start.first_epoch.0, Ordering::Relaxed);
        }
        Ok(sockets)
    }

    fn mesh(&self) -> Mesh {
        let JobArgs { hosts, process, mesh_timeout, .. } = &self.args;
        Mesh {
            hosts: hosts.clone(),
            me: *process,
            identity: cluster::identity(&self.name, &self.args),
            run: self.incarnation,
            timeout: *mesh_timeout,
            hope: Duration::from_secs(10),
            stop: Arc::clone(&self.process.stop),
            refusals: Arc::clone(&self.refusals),
        }
    }

    /// What the job is doing right now.
    pub(crate) fn snapshot(&self, state: &str) -> Snapshot {
        let progress = &self.process.progress;
        let committed = progress.committed_epoch.load(Ordering::Relaxed);
        Snapshot {
            job: self.name.clone(),
            state: state.to_owned(),
            workers: self.args.all_workers(),
            elapsed_ms: progress
                .began
                .get()
                .map_or(0, |began| u64::try_from(threads::since(began.0).as_millis()).unwrap_or(u64::MAX)),
            now_ms: self.process.clock.now_ms(),
            restored_epoch: Some(progress.restored_epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch > 0),
            epoch: progress.running_epoch.load(Ordering::Relaxed),
            committed_epoch: (committed > 0).then_some(committed),
            in_flight: self.process.budget.in_flight(),
            held: self.process.held.load(Ordering::Relaxed),
            checkpoint_us: progress.checkpoint_time.percentiles(),
            delta_bytes: progress.written.delta_bytes.load(Ordering::Relaxed),
            checkpoint_files_lost: progress.written.lost_files.load(Ordering::Relaxed),
            state_bytes: progress.state.iter().map(|state| state.bytes.load(Ordering::Relaxed)).sum(),
            mesh_refused: self.refusals.counts(),
            operators: self.process.metrics.snapshot(),
        }
    }
}

fn start_logging(level: &str) -> Result<(), JobError> {
    use tracing_subscriber::EnvFilter;
    // ONNX Runtime tells its whole life at `info`.
    let quiet = if level.contains("ort=") { level.to_owned() } else { format!("ort=warn,{level}") };
    let filter = EnvFilter::try_new(quiet)
        .map_err(|e| JobError::Invalid(format!("--log-level \"{level}\" is not a level or filter: {e}")))?;
    // A second job of the process, or a program with its own subscriber, keeps the one that is there.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
    Ok(())
}

/// Where the workers' RocksDBs work.
fn working_root(args: &JobArgs) -> PathBuf {
    match (&args.checkpoint_dir, &args.state_dir) {
        (Some(dir), _) => dir.join("local"),
        (None, Some(dir)) => dir.clone(),
        (None, None) => std::env::temp_dir().join("tidemill"),
    }
}

/// A number no other start of the job has: names of scratch files are made of it.
fn draw_incarnation(clock: &Clock) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((clock.now(), std::process::id()))
}

/// The first SIGINT or SIGTERM asks the job to stop; the second one ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, JobError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signal_hook::consts::TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&stop)))
            .map_err(|source| JobError::Io { what: "listen for SIGINT and SIGTERM".to_owned(), source })?;
    }
    Ok(stop)
}

fn run_workers<F>(run: &Arc<Run>, start: &Arc<Start>, sockets: Sockets, build: F) -> Result<(), JobError>
where
    F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
{
    let (allocators, connections) = cluster::communication(&run.args, sockets)?;
    let (shared, start) = (Arc::clone(run), Arc::clone(start));
    if let Some(director) = &run.director {
        // All seats are there before anyone takes one.
        (0..run.args.workers).for_each(|worker| _ = director.announce(None, &format!("worker {worker}")));
    }
    let guards = timely::communication::initialize_from(allocators, Box::new(()), move |allocator| {
        let _seat = shared.director.as_ref().map(|director| threads::sit(director, allocator.index()));
        let mut worker = Worker::new(WorkerConfig::default(), allocator, Some(Instant::now()));
        let index = worker.index();
        // Users' code may panic: it is caught so that the other workers hear of it and the caller gets an error.
        if let Err(error) = cluster::caught(index, || run_worker(&mut worker, &shared, &start, &build)) {
            shared.process.failure.set(error);
        }
        if shared.process.failure.is_set() && shared.director.is_none() {
            cluster::abandon(worker);
        }
    })
    .map_err(JobError::Cluster)?;
    for outcome in guards.join() {
        if let Err(message) = outcome {
            run.process.failure.set(JobError::Cluster(format!("a worker thread was lost: {message}")));
        }
    }
    let failure = run.process.failure.take();
    if failure.is_some() {
        cluster::abandon(connections);
    }
    failure.map_or(Ok(()), Err)
}

/// Builds the graph on this worker and steps it to its end.
fn run_worker<F>(worker: &mut Worker, run: &Run, start: &Arc<Start>, build: &F) -> Result<(), JobError>
where
    F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError>,
{
    let context = open_context(worker, run, start)?;
    let built = worker.dataflow_named(&run.name, |scope| build(&Flow::new(scope, Rc::clone(&context))));
    let built = built.and_then(|()| {
        unclaimed::check(&context.backend.borrow().unclaimed(), &context.restored, &context.ends.borrow())
    });
    if start.manifest.as_ref().is_some_and(|manifest| manifest.finished) {
        tracing::info!(
            "the restored checkpoint is of a finished job: its input had ended; its last output is published, and nothing more is to do"
        );
        // Sinks have published, while the graph was built, what the job had not when it was killed at its end.
        drop_dataflows(worker);
        return built;
    }
    let mut coordinator = match built.and_then(|()| open_coordinator(worker, run, &context)) {
        Ok(coordinator) => coordinator,
        Err(error) => {
            drop_dataflows(worker);
            return Err(error);
        }
    };
    if let Err(error) = step_to_the_end(worker, &context, &mut coordinator) {
        run.process.failure.set(error);
    }
    if let Some(reason) = run.process.failure.of_this_process()
        && run.args.hosts.len() > 1
    {
        coordinator.tell_failure(&reason);
        for _ in 0..cluster::STEPS_TO_TELL {
            worker.step_or_park(Some(cluster::STEP));
        }
    }
    drop_dataflows(worker);
    Ok(())
}

fn open_context(worker: &Worker, run: &Run, start: &Arc<Start>) -> Result<Shared, JobError> {
    let (index, workers) = (worker.index(), worker.peers());
    let config = BackendConfig {
        dir: run.workplace.as_ref().map(|workplace| workplace.worker(index)),
        key_groups: KeyGroups::new(run.args.key_groups),
        worker: index,
        workers,
        memory_limit_bytes: run.args.state_memory.map(|bytes| bytes / run.args.workers as u64),
        durable: start.target.is_some(),
    };
    let restored = match (&start.manifest, &start.target) {
        (Some(manifest), Some(target)) => {
            let changes = run.args.changes();
            Some(RestoredWorker { manifest: Arc::clone(manifest), changes, store: Arc::clone(&target.store) })
        }
        _ => None,
    };
    let first_epoch = start.first_epoch;
    Ok(Rc::new(WorkerContext {
        process: Arc::clone(&run.process),
        worker: index,
        workers,
        threads: run.args.workers,
        incarnation: run.incarnation,
        checkpoint_interval: start.target.as_ref().map(|_| run.args.checkpoint_interval),
        first_epoch,
        backend: RefCell::new(Backend::open(config, restored)?),
        epochs: RefCell::new(Epochs::new(index, first_epoch)),
        start: Arc::clone(start),
        restored: Arc::clone(&start.restored),
        ends: RefCell::default(),
        acknowledge: RefCell::new(vec![0; run.args.hosts.len().max(1)]),
        dead_letters_logged: Cell::new(0),
        alarms: RefCell::default(),
    }))
}

fn open_coordinator(worker: &mut Worker, run: &Run, context: &Shared) -> Result<Coordinator, JobError> {
    if !context.epochs.borrow().has_sources() {
        return Err(JobError::Invalid(format!("job \"{}\" has no source: it would never do anything", run.name)));
    }
    // Nothing is left that may stop the start, and worker 0 will commit what comes next.
    if context.worker == 0 {
        context.start.begin()?;
    }
    let backend = context.backend.borrow();
    let thread = CheckpointThread::start(
        context.worker as u32,
        backend.db(),
        context.start.target.clone(),
        context.start.manifest.is_some(),
        run.bases,
        run.process.progress.written.clone(),
    )?;
    let head = ManifestHead {
        job: run.name.clone(),
        incarnation: run.incarnation,
        key_groups: run.args.key_groups,
        states: backend.states(),
    };
    Ok(Coordinator::new(worker, context, thread, head, run.args.checkpoint_interval))
}

fn step_to_the_end(worker: &mut Worker, context: &Shared, coordinator: &mut Coordinator) -> Result<(), JobError> {
    while !coordinator.is_finished() {
        if context.failed() {
            return Ok(());
        }
        let park = coordinator.turn()?;
        step(worker, context, park)?;
    }
    coordinator.close();
    while worker.has_dataflows() && !context.failed() {
        step(worker, context, Duration::from_millis(20))?;
    }
    Ok(())
}

fn step(worker: &mut Worker, context: &Shared, park: Duration) -> Result<(), JobError> {
    let alarm = context.alarms.borrow_mut().ring();
    threads::step(worker, alarm.map_or(park, |alarm| alarm.min(park)))
}

fn drop_dataflows(worker: &mut Worker) {
    // Timely hands them out in no particular order.
    let mut dataflows = worker.installed_dataflows();
    dataflows.sort_unstable();
    for dataflow in dataflows {
        worker.drop_dataflow(dataflow);
    }
}
