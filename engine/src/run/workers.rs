//! All workers of a process: how they are started, and the first error of any of them.

use std::sync::Arc;
use std::time::Instant;

use tidemill_state::Manifest;
use timely::WorkerConfig;
use timely::worker::Worker;

use super::cluster;
use super::execution::{Run, Sockets};
use super::worker::run_worker;
use crate::checkpoint::restore::StartingPoint;
use crate::checkpoint::target::Target;
use crate::error::{ErrorKind, JobError};
use crate::graph::Flow;
use crate::place::Place;
use crate::threads;

/// Runs the job in this process, from connecting to the other processes until its end.
pub(super) fn execute<F>(run: &Arc<Run>, build: F) -> Result<(), JobError>
where
    F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
{
    let _place = run.place().enter();
    // Kept outside, since an error may come after the decision, from another process.
    let mut decided = None;
    let result = run.begin(&mut decided).and_then(|sockets| match &decided {
        Some(start) => run_workers(run, start, sockets, build),
        None => Ok(()),
    });
    let Some(start) = decided.filter(|_| result.is_err()) else { return result };
    start.give_back(run.work_dir.as_ref().is_none_or(|work_dir| work_dir.is_the_only_one()));
    result.map_err(|error| explained(error, &start))
}

fn run_workers<F>(run: &Arc<Run>, start: &Arc<StartingPoint>, sockets: Sockets, build: F) -> Result<(), JobError>
where
    F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static,
{
    let (allocators, connections) = cluster::communication(&run.settings, sockets)?;
    let (shared, start, place) = (Arc::clone(run), Arc::clone(start), Place::here());
    if let Some(scheduler) = &run.scheduler {
        // All slots are announced before any worker takes one.
        (0..run.settings.workers).for_each(|worker| _ = scheduler.announce(None, &format!("worker {worker}")));
    }
    let guards = timely::communication::initialize_from(allocators, Box::new(()), move |allocator| {
        let _place = place.clone().of_worker(allocator.index()).enter();
        let _slot = shared.scheduler.as_ref().map(|scheduler| threads::take_slot(scheduler, allocator.index()));
        #[expect(
            clippy::disallowed_methods,
            reason = "timely's own timer goes by the machine's clock, also in a simulation"
        )]
        let started = Instant::now();
        let mut worker = Worker::new(WorkerConfig::default(), allocator, Some(started));
        let index = worker.index();
        // Users' code may panic: the panic is caught, so that the other workers learn of it and the caller gets an
        // error.
        if let Err(error) = cluster::caught(index, || run_worker(&mut worker, &shared, &start, &build)) {
            shared.process.failure.set(error);
        }
        if shared.process.failure.is_set() && shared.scheduler.is_none() {
            cluster::abandon(worker);
        }
    })
    .map_err(JobError::cluster)?;
    let first = run.settings.first_worker();
    for (at, outcome) in guards.join().into_iter().enumerate() {
        if let Err(message) = outcome {
            run.process.failure.set(cluster::of_panic(first + at, message));
        }
    }
    let failure = run.process.failure.take();
    if failure.is_some() {
        cluster::abandon(connections);
    }
    failure.map_or(Ok(()), Err)
}

/// Returns the reason for an error: if another run has taken over, it removes what this run wrote and did not commit, or locks
/// it out.
fn explained(error: JobError, start: &StartingPoint) -> JobError {
    let target = start.target.as_ref().filter(|_| !matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Internal));
    let taken_over = |target: &Target| Manifest::taken_over(&*target.store, target.incarnation, start.first_epoch.0);
    match target.and_then(taken_over) {
        Some(taken_over) => {
            tracing::warn!(error = error.report(), "this failed because another run of the job has taken over");
            taken_over.into()
        }
        None => error,
    }
}
