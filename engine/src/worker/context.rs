//! The context that the operators of one worker share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidemill_state::WorkerState;
use timely::scheduling::Activator;

use super::alarms::Alarms;
use super::process::{Process, StateUse};
use super::pulse::Pulse;
use crate::checkpoint::restore::StartingPoint;
use crate::checkpoint::restored::{Ends, Restored};
use crate::control::request::Request;
use crate::epoch::Epochs;
use crate::error::JobError;
use crate::record::DeadLetter;
use crate::threads;
use crate::time::Epoch;

/// The context that the operators of a worker share.
pub(crate) struct WorkerContext {
    pub(crate) process: Arc<Process>,
    /// Index among all workers; `workers` is their number.
    pub(crate) worker: usize,
    pub(crate) workers: usize,
    /// Number of workers per process.
    pub(crate) threads: usize,
    pub(crate) incarnation: u64,
    /// Length of an epoch; `None` in a job without checkpoints.
    pub(crate) checkpoint_interval: Option<Duration>,
    /// The first epoch of this incarnation.
    pub(crate) first_epoch: Epoch,
    pub(crate) worker_state: RefCell<WorkerState>,
    pub(crate) epochs: RefCell<Epochs>,
    pub(crate) start: Arc<StartingPoint>,
    /// The values that the workers of the previous run stored in addition to their states.
    pub(crate) restored: Arc<Restored>,
    /// The sources and sinks of this program.
    pub(crate) ends: RefCell<Ends>,
    /// Number of records from each process that were consumed here and have to be acknowledged to it.
    pub(crate) acknowledge: RefCell<Vec<usize>>,
    /// The changes of operators that records on this worker ask for. They are sent to the leader before the worker says
    /// that the epoch of the records is durable.
    pub(crate) asked: Arc<Mutex<Vec<Request>>>,
    pub(crate) dead_letters_logged: Cell<u64>,
    pub(crate) alarms: RefCell<Alarms>,
}

impl WorkerContext {
    const DEAD_LETTERS_LOGGED: u64 = 10;

    /// Returns the number of processes.
    pub(crate) fn processes(&self) -> usize {
        self.workers / self.threads
    }

    /// Returns the process of a worker.
    pub(crate) fn process_of(&self, worker: usize) -> usize {
        worker / self.threads
    }

    /// Returns whether a worker is of this process.
    pub(crate) fn is_of_this_process(&self, worker: usize) -> bool {
        self.process_of(worker) == self.process_of(self.worker)
    }

    /// Returns whether this is the worker whose parts of the start are logged: the first one of its process.
    pub(crate) fn times_the_start(&self) -> bool {
        self.worker.is_multiple_of(self.threads)
    }

    /// Returns the signs of life of this worker.
    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.process.progress.pulses[self.worker % self.threads]
    }

    /// Returns the figures of this worker's state that others look at.
    pub(crate) fn state_use(&self) -> &StateUse {
        &self.process.progress.state[self.worker % self.threads]
    }

    /// Counts that records sent by worker `from` were consumed here.
    pub(crate) fn consumed(&self, from: usize, records: usize) {
        if self.is_of_this_process(from) {
            self.process.budget.release(records);
        } else if let Some(count) = self.acknowledge.borrow_mut().get_mut(self.process_of(from)) {
            *count += records;
        }
    }

    /// Has an operator called again after `wait`. Timely's own timers are not used, since they follow the
    /// machine's clock, not the time of a simulation.
    pub(crate) fn wake_after(&self, activator: &Activator, wait: Duration) {
        // A time beyond the range of the clock never comes.
        if let Some(at) = threads::now().checked_add(wait) {
            self.alarms.borrow_mut().set(at, activator.clone());
        }
    }

    /// Does the same as [`wake_after`](Self::wake_after), unless `planned` says that the operator is called before that
    /// anyway: otherwise each call for another reason would add one more series of alarms that never ends.
    pub(crate) fn look_again(&self, planned: &mut Option<Instant>, activator: &Activator, wait: Duration) {
        let now = threads::now();
        let Some(at) = now.checked_add(wait) else { return };
        if planned.is_none_or(|planned| planned <= now || planned > at) {
            *planned = Some(at);
            self.alarms.borrow_mut().set(at, activator.clone());
        }
    }

    /// Returns the value of a result; an error stops the job.
    pub(crate) fn guard<T>(&self, result: Result<T, JobError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.process.failure.set(error);
                None
            }
        }
    }

    /// Shows a dead letter: the last ones on the page, and the first ones in the log. The others are only counted.
    pub(crate) fn show_dead_letter(&self, letter: &DeadLetter) {
        self.process.taps.dead_letters.offer_letter(letter);
        let logged = self.dead_letters_logged.get();
        if logged < Self::DEAD_LETTERS_LOGGED {
            self.dead_letters_logged.set(logged + 1);
            let DeadLetter { operator, origin, reason, content } = letter;
            tracing::warn!(operator, origin, reason, content, "dead letter");
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.process.failure.is_set()
    }
}

/// The worker's context, as its operators share it.
pub(crate) type Shared = Rc<WorkerContext>;
