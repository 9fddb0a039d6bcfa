//! What the operators of one worker share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_state::WorkerState;
use timely::scheduling::Activator;

use super::alarms::Alarms;
use super::process::Process;
use crate::checkpoint::restore::StartingPoint;
use crate::checkpoint::restored::{Ends, Restored};
use crate::epoch::Epochs;
use crate::error::JobError;
use crate::record::DeadLetter;
use crate::threads;
use crate::time::Epoch;

/// Shared by the operators of a worker.
pub(crate) struct WorkerContext {
    pub(crate) process: Arc<Process>,
    /// Index among all workers, and their number.
    pub(crate) worker: usize,
    pub(crate) workers: usize,
    /// Workers per process.
    pub(crate) threads: usize,
    pub(crate) incarnation: u64,
    /// How long an epoch is; nothing in a job without checkpoints.
    pub(crate) checkpoint_interval: Option<Duration>,
    /// The first epoch of this incarnation.
    pub(crate) first_epoch: Epoch,
    pub(crate) worker_state: RefCell<WorkerState>,
    pub(crate) epochs: RefCell<Epochs>,
    pub(crate) start: Arc<StartingPoint>,
    /// What old workers left besides their states.
    pub(crate) restored: Arc<Restored>,
    /// The sources and sinks of this program.
    pub(crate) ends: RefCell<Ends>,
    /// Records that came from other processes and were consumed, by process: to be acknowledged.
    pub(crate) acknowledge: RefCell<Vec<usize>>,
    pub(crate) dead_letters_logged: Cell<u64>,
    pub(crate) alarms: RefCell<Alarms>,
}

impl WorkerContext {
    const DEAD_LETTERS_LOGGED: u64 = 10;

    /// Which process a worker is in.
    pub(crate) fn process_of(&self, worker: usize) -> usize {
        worker / self.threads
    }

    /// Records sent by `from` were consumed here.
    pub(crate) fn consumed(&self, from: usize, records: usize) {
        let process = self.process_of(from);
        if process == self.process_of(self.worker) {
            self.process.budget.release(records);
        } else if let Some(count) = self.acknowledge.borrow_mut().get_mut(process) {
            *count += records;
        }
    }

    /// Has an operator called again after `wait`. Timely's own alarms go by the machine's clock, whatever a simulation says.
    pub(crate) fn wake_after(&self, activator: &Activator, wait: Duration) {
        // What is further away than clocks go is never.
        if let Some(at) = threads::now().checked_add(wait) {
            self.alarms.borrow_mut().set(at, activator.clone());
        }
    }

    /// As [`wake_after`](Self::wake_after), unless the operator is called before that anyway, as `planned` says: each call of its
    /// own would otherwise add one that never ends.
    pub(crate) fn look_again(&self, planned: &mut Option<Instant>, activator: &Activator, wait: Duration) {
        let now = threads::now();
        let Some(at) = now.checked_add(wait) else { return };
        if planned.is_none_or(|planned| planned <= now || planned > at) {
            *planned = Some(at);
            self.alarms.borrow_mut().set(at, activator.clone());
        }
    }

    /// The value, if it went well; an error stops the job.
    pub(crate) fn guard<T>(&self, result: Result<T, JobError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.process.failure.set(error);
                None
            }
        }
    }

    /// Logs the first dead letters; the rest is counted only.
    pub(crate) fn log_dead_letter(&self, letter: &DeadLetter) {
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

/// The worker's context as operators hold it.
pub(crate) type Shared = Rc<WorkerContext>;
