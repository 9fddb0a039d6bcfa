//! What the server knows: the job, and what was seen of it.

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, broadcast};

use super::cause::{Cause, Load, Room, cause};
use super::counts::WorkerRates;
use super::news::News;
use super::sampler::Sampler;
use super::savepoints::Savepoints;
use super::watched::Watched;
use crate::locks::lock;
use crate::metrics::{JobState, Snapshot};
use crate::threads;

/// The job and what was seen of it so far. Only the thread of the server uses it.
pub(crate) struct Shown {
    pub(super) watched: Watched,
    pub(super) sampler: Mutex<Sampler>,
    pub(super) savepoints: Savepoints,
    /// How the job has ended, if it has: its state, and its error.
    ended: Mutex<Option<(JobState, Option<String>)>>,
    /// To all pages that listen. One that is slower than this misses some.
    pub(super) news: broadcast::Sender<Arc<News>>,
    /// Limits the number of pages that listen.
    pub(super) listeners: Arc<Semaphore>,
}

/// Number of seconds that a page may be behind.
const BEHIND: usize = 8;
/// Number of pages that may listen. Each has a connection, and others must have some left.
const LISTENERS: usize = 32;

impl Shown {
    pub(super) fn new(watched: Watched) -> Self {
        Self {
            sampler: Mutex::new(Sampler::new(&watched)),
            watched,
            savepoints: Savepoints::default(),
            ended: Mutex::default(),
            news: broadcast::Sender::new(BEHIND),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        (self.watched.snapshot)()
    }

    /// Looks at the job, once a second.
    pub(super) fn look(&self) -> Snapshot {
        let snapshot = self.snapshot();
        lock(&self.sampler).look(&self.watched, &snapshot, threads::now());
        snapshot
    }

    /// Shows how the job has ended.
    pub(super) fn end(&self, state: JobState, error: Option<String>) {
        *lock(&self.ended) = Some((state, error));
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.ended).is_some()
    }

    /// Returns the state of the job, in a word, and the reason if it has failed.
    pub(super) fn state(&self) -> (&'static str, Option<String>) {
        match &*lock(&self.ended) {
            Some((_, Some(error))) => return ("failed", Some(error.clone())),
            Some((state, None)) => return (state.as_str(), None),
            None => {}
        }
        ((self.watched.state)(), self.watched.process.failure.report())
    }

    /// Returns the operator that the others wait for, if there is one.
    pub(super) fn cause(&self) -> Option<Cause> {
        let sampler = lock(&self.sampler);
        let room = (self.watched.processes == 1).then(|| self.room(sampler.state_was_full()));
        self.cause_by(|name| sampler.rates.get(name).map_or(&[], |rates| &rates.per_worker), room)
    }

    /// Returns what else may hold sources back.
    pub(super) fn room(&self, state_is_full: bool) -> Room {
        Room { in_flight: self.watched.process.budget.limit(), state_is_full }
    }

    /// Returns the operator that the others wait for, by what each operator did on its workers; or else which limit of
    /// `room` they wait for.
    pub(super) fn cause_by<'a>(&self, rates: impl Fn(&str) -> &'a [WorkerRates], room: Option<Room>) -> Option<Cause> {
        let topology = self.watched.process.topology.get()?;
        let load = |name: &str| Load(rates(name).iter().map(WorkerRates::share).collect());
        let loads: Vec<Load> = topology.nodes.iter().map(|node| load(&node.name)).collect();
        cause(topology, &loads, room)
    }
}
