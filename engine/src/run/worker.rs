//! One worker of a job: it builds the graph, steps it until its end, and reports a failure to the other processes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidemill_state::{KeyGroups, RestoredWorker, StartPart, WorkerState, WorkerStateConfig};
use timely::worker::Worker;

use super::cluster;
use super::coordinator::{Coordinator, ManifestHead};
use super::execution::Run;
use crate::checkpoint::restore::StartingPoint;
use crate::checkpoint::thread::{CheckpointThread, Restored};
use crate::checkpoint::unclaimed;
use crate::epoch::Epochs;
use crate::error::JobError;
use crate::graph::Flow;
use crate::threads;
use crate::worker::{Shared, WorkerContext};

/// Builds the graph on this worker and steps it until its end.
pub(super) fn run_worker<F>(
    worker: &mut Worker,
    run: &Run,
    start: &Arc<StartingPoint>,
    build: &F,
) -> Result<(), JobError>
where
    F: for<'s> Fn(&Flow<'s>) -> Result<(), JobError>,
{
    let context = open_context(worker, run, start)?;
    let built = worker.dataflow_named(&run.name, |scope| {
        let flow = Flow::new(scope, Rc::clone(&context));
        build(&flow)?;
        flow.publish();
        Ok(())
    });
    if context.times_the_start() {
        context.process.progress.start.end("graph");
    }
    let built = built.and_then(|()| {
        let states = context.worker_state.borrow();
        let changed = context.process.control.unclaimed(&context.start.control);
        unclaimed::check(&states.unclaimed(), &context.restored, &context.ends.borrow(), changed)
    });
    if start.manifest.as_ref().is_some_and(|manifest| manifest.finished) {
        tracing::info!(
            "the restored checkpoint is of a finished job: its input had ended, so this run only publishes its last output and ends"
        );
        // While the graph was built, sinks have published any output that the job had not published when it was
        // killed.
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
    context.pulse().stop();
    if let Some(reason) = run.process.failure.of_this_process()
        && run.settings.hosts.len() > 1
    {
        coordinator.report_failure(&reason);
        for _ in 0..cluster::STEPS_TO_TELL {
            worker.step_or_park(Some(cluster::STEP));
        }
    }
    drop_dataflows(worker);
    Ok(())
}

fn open_context(worker: &Worker, run: &Run, start: &Arc<StartingPoint>) -> Result<Shared, JobError> {
    let (index, workers) = (worker.index(), worker.peers());
    let config = WorkerStateConfig {
        dir: run.work_dir.as_ref().map(|work_dir| work_dir.worker(index)),
        key_groups: KeyGroups::new(run.settings.key_groups),
        worker: index,
        workers,
        memory_limit_bytes: run.settings.state_memory.map(|bytes| bytes / run.settings.workers as u64),
        durable: start.target.is_some(),
    };
    let restored = match (&start.manifest, &start.target) {
        (Some(manifest), Some(target)) => {
            let changes = run.settings.changes();
            let (manifest, store) = (Arc::clone(manifest), Arc::clone(&target.store));
            Some(RestoredWorker { manifest, changes, store, restoring: run.settings.workers })
        }
        _ => None,
    };
    let (first_epoch, process) = (start.first_epoch, Arc::clone(&run.process));
    let is_first = index.is_multiple_of(run.settings.workers);
    let passed = move |part| {
        if is_first {
            process.progress.start.end_of_state(part)
        }
    };
    let passed: Rc<dyn Fn(StartPart)> = Rc::new(passed);
    Ok(Rc::new(WorkerContext {
        process: Arc::clone(&run.process),
        worker: index,
        workers,
        threads: run.settings.workers,
        incarnation: run.incarnation,
        checkpoint_interval: start.target.as_ref().map(|_| run.settings.checkpoint_interval),
        first_epoch,
        worker_state: RefCell::new(WorkerState::open_observed(config, restored, passed)?),
        epochs: RefCell::new(Epochs::new(index, first_epoch)),
        start: Arc::clone(start),
        restored: Arc::clone(&start.restored),
        ends: RefCell::default(),
        acknowledge: RefCell::new(vec![0; run.settings.processes()]),
        asked: Arc::default(),
        dead_letters_logged: Cell::new(0),
        alarms: RefCell::default(),
    }))
}

fn open_coordinator(worker: &mut Worker, run: &Run, context: &Shared) -> Result<Coordinator, JobError> {
    if !context.epochs.borrow().has_sources() {
        return Err(JobError::Invalid(format!("job \"{}\" has no source: it would never do anything", run.name)));
    }
    // Nothing can stop the start any more, and worker 0 will commit the next epoch.
    if context.worker == 0 {
        context.start.begin()?;
    }
    let worker_state = context.worker_state.borrow();
    context.state_use().rows.get_or_init(|| Arc::downgrade(&worker_state.db()));
    // Without files to add deltas to, the first epoch takes a base.
    let files = if context.start.stands_alone { None } else { worker_state.files() };
    let thread = CheckpointThread::start(
        context.worker as u32,
        worker_state.db(),
        context.start.target.clone(),
        Restored { epoch: context.start.restored_epoch(), files },
        run.bases,
        run.process.progress.written.clone(),
        Box::new(context.pulse().checkpoint_thread()),
    )?;
    let head = ManifestHead {
        job: run.name.clone(),
        incarnation: run.incarnation,
        key_groups: run.settings.key_groups,
        states: worker_state.states(),
    };
    Ok(Coordinator::new(worker, context, thread, head, run.settings.checkpoint_interval))
}

fn step_to_the_end(worker: &mut Worker, context: &Shared, coordinator: &mut Coordinator) -> Result<(), JobError> {
    let pulse = context.pulse();
    while !coordinator.is_finished() {
        if context.failed() {
            return Ok(());
        }
        pulse.beat();
        let park = coordinator.turn()?;
        step(worker, context, park)?;
    }
    coordinator.close();
    pulse.stop();
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
    // Timely returns them in no particular order.
    let mut dataflows = worker.installed_dataflows();
    dataflows.sort_unstable();
    for dataflow in dataflows {
        worker.drop_dataflow(dataflow);
    }
}
