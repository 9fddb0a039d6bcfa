//! The test's handle to a simulation, and its run from the first start to the end.

use std::sync::Arc;
use std::time::Duration;

use rand::distr::uniform::{SampleRange, SampleUniform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill_state::{Catalogued, ControlEntry, MemoryStore, catalogue};

use super::faults::{Fate, Faults};
use super::outside::Outside;
use super::schedule::{Ended, Schedule};
use super::settings::SimulationSettings;
use crate::checkpoint::bases::BasePolicy;
use crate::clock::Clock;
use crate::error::JobError;
use crate::graph::Flow;
use crate::record::{Arrival, Data};
use crate::run::{Job, JobSettings, World};
use crate::testing::must::must;
use crate::testing::sink::TestSink;
use crate::testing::source::TestSource;
use crate::testing::stage::{Build, Stage};

/// A simulation of a whole program, in which a seed decides everything: which thread runs when, what time it is,
/// when input arrives, when the job crashes or is asked to stop, with how many workers it goes on, and how long
/// calls to the outside take. The same seed leads to the same run.
///
/// * Threads take turns: a worker's turn is one step, a checkpoint thread's is one command. Within a turn
///   everything happens as in a job; effects of two processors that access the same memory at the same time are
///   not simulated.
/// * Time: the job's [`clock`](Self::clock) starts at 0 and advances by the length of each turn; when no thread
///   has anything to do, it advances to the next time at which one has. No real time is spent waiting.
/// * State, checkpoints: in memory. Guarantee: outputs of [`TestSink`]s are exactly those of a job that was never
///   disturbed.
///
/// ```
/// use tidemill_engine::testing::Simulation;
///
/// Simulation::check(20, |sim| {
///     let (numbers, large) = (sim.source::<i64>(), sim.sink::<i64>());
///     for time in 0..100 {
///         numbers.push_to(time as usize % 2, time, sim.draw(0..20));
///     }
///     let (from, to) = (numbers.clone(), large.clone());
///     sim.run(move |flow| flow.source("numbers", &from)?.filter(|n| *n > 10).sink("large", &to));
///     assert!(large.output().iter().all(|n| *n > 10));
/// });
/// ```
pub struct Simulation {
    seed: u64,
    settings: SimulationSettings,
    chance: ChaCha8Rng,
    clock: Clock,
    schedule: Arc<Schedule>,
    stage: Arc<Stage>,
    state_memory: Option<u64>,
    simulated: SimulationReport,
    /// The checkpoints of the job.
    store: Arc<MemoryStore>,
}

/// The report of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimulationReport {
    /// Number of starts of the job.
    pub starts: u32,
    /// Number of starts in which it crashed.
    pub crashes: u32,
    /// Number of starts in which it was asked to stop.
    pub stops: u32,
    /// Number of turns of all threads.
    pub turns: u64,
    /// Length of the run, by the simulation's clock.
    pub elapsed: Duration,
    /// Hash of which thread had each turn at what time, and of the published output: two runs with equal digests
    /// are equal.
    pub digest: u64,
}

impl Simulation {
    /// Makes the simulation of a seed, with default settings.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let clock = Clock::manual(Arrival(0));
        let faults = Faults::new(stream(seed, 1), SimulationSettings::default());
        let schedule = Arc::new(Schedule::new(clock.clone(), faults));
        Self {
            seed,
            settings: SimulationSettings::default(),
            chance: stream(seed, 0),
            stage: Arc::new(Stage::simulated(clock.clone(), Arc::clone(&schedule) as _)),
            clock,
            schedule,
            state_memory: None,
            simulated: SimulationReport::default(),
            store: Arc::default(),
        }
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the settings, to be changed before [`run`](Self::run).
    pub fn settings(&mut self) -> &mut SimulationSettings {
        &mut self.settings
    }

    /// Sets the memory for keyed state in bytes: state beyond it is evicted to a sorted map, which stands in for
    /// RocksDB.
    pub fn state_memory(&mut self, bytes: Option<u64>) {
        self.state_memory = bytes;
    }

    /// Draws a number from the seed, for the test's own data. The faults of the simulation are drawn independently
    /// of it.
    pub fn draw<T: SampleUniform, R: SampleRange<T>>(&mut self, range: R) -> T {
        self.chance.random_range(range)
    }

    /// Returns the job's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Returns a simulated service, for stand-ins of models and services.
    #[must_use]
    pub fn outside(&self) -> Outside {
        Outside { schedule: Arc::clone(&self.schedule) }
    }

    /// Makes a source that the test fills by hand before [`run`](Self::run). Its input ends with its last record.
    #[must_use]
    pub fn source<T: Data>(&self) -> TestSource<T> {
        TestSource::new(Arc::clone(&self.stage))
    }

    /// Makes a sink whose output the test reads after [`run`](Self::run).
    #[must_use]
    pub fn sink<T: Data>(&self) -> TestSink<T> {
        TestSink::new(Arc::clone(&self.stage))
    }

    /// Runs the program from its start to the end of its input, through all faults of the simulation. To be called
    /// once.
    ///
    /// # Panics
    /// When the job stops with an error, or does not come to its end: the message says what its threads wait for.
    #[track_caller]
    pub fn run<F>(&mut self, build: F) -> SimulationReport
    where
        F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
    {
        assert_eq!(self.simulated.starts, 0, "a simulation runs once");
        must(self.try_run(Arc::new(build)));
        self.simulated
    }

    /// Returns the control log of the last checkpoint, after [`run`](Self::run).
    ///
    /// # Panics
    /// When there is no checkpoint, or it cannot be read.
    #[track_caller]
    #[must_use]
    pub fn control_log(&self) -> Vec<ControlEntry> {
        let all = must(catalogue(&*self.store).map_err(JobError::from));
        let newest = all.iter().filter_map(Catalogued::checkpoint).max_by_key(|manifest| manifest.epoch);
        must(newest.map(|manifest| manifest.control.clone()).ok_or(JobError::Invalid("no checkpoint".to_owned())))
    }

    fn try_run(&mut self, build: Build) -> Result<(), JobError> {
        self.settings.check().map_err(JobError::Invalid)?;
        let mut chance = stream(self.seed, 2);
        self.schedule.set_out(Faults::new(stream(self.seed, 1), self.settings.clone()));
        self.stage.prepare(self.settings.reorder, &mut chance);
        let store = Arc::clone(&self.store);
        let settings = JobSettings {
            checkpoint_interval: self.schedule.draw(|w| w.time(&w.settings().checkpoint_interval.clone())),
            state_memory: self.state_memory,
            ..JobSettings::default()
        };
        // A run has only a few KiB of state, so bases have to be taken far more often than in a job.
        let bases = BasePolicy {
            delta_bytes: 1 << chance.random_range(6..16),
            deltas: stream(self.seed, 3).random_range(2..40),
            min_interval: Duration::ZERO,
            small: 0,
        };
        loop {
            let settings =
                JobSettings { workers: chance.random_range(self.settings.workers.clone()), ..settings.clone() };
            let world = World {
                clock: self.clock.clone(),
                incarnation: chance.random(),
                store: Some(Arc::clone(&store) as _),
                bases,
                stop: self.schedule.restart(),
                scheduler: Some(Arc::clone(&self.schedule) as _),
                tracer: None,
            };
            let build = Arc::clone(&build);
            let result = Job::new("simulation", settings).simulate(world, move |flow| build(flow));
            let Ended { fate, turns, stuck } = self.schedule.ended();
            let so_far = &mut self.simulated;
            so_far.starts += 1;
            so_far.crashes += u32::from(fate == Fate::Crash);
            so_far.stops += u32::from(fate == Fate::Stop);
            so_far.turns += turns;
            (so_far.elapsed, so_far.digest) = (self.schedule.elapsed(), self.schedule.digest());
            match (result, stuck) {
                (_, Some(stuck)) => return Err(JobError::Invalid(stuck)),
                (Ok(()), None) if fate == Fate::End => return Ok(()),
                (Err(JobError::Crashed), None) => {}
                (result, None) => result?,
            }
        }
    }
}

/// Returns a stream of random numbers of the seed, independent of its other streams.
fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    chance.set_stream(stream);
    chance
}
