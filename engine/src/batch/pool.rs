//! The threads of a batch operator that does not run its batches on the worker.
//!
//! ```text
//! worker ─▶ orders ─▶ thread: run ─▶ done ─▶ worker, woken by the thread
//! a thread that panics, or is overdue, is replaced; its batch is given up by the worker, which has kept the records
//! ```
//! Invariant: an order comes back once, as done or lost; what an overdue thread still returns is discarded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use timely::scheduling::SyncActivator;

use super::logic::{BatchRunner, PoolSpec};
use crate::error::{JobError, panic_text};
use crate::place::AtOperator;
use crate::threads;

/// Number of overdue threads, as a multiple of the pool's size, beyond which no more replacements are started.
const OVERDUE_LIMIT: usize = 4;
/// How long the end of a job waits for threads that are still running a batch.
const LAST_RUN: Duration = Duration::from_secs(5);
/// The ticket of a thread that has no order.
const NONE: u64 = 0;
/// The ticket of a thread that lost its order in a panic, and ends.
const ENDED: u64 = u64::MAX;

struct WorkOrder<W> {
    ticket: u64,
    work: W,
    sent: Instant,
}

/// The outcome of an order.
pub(super) struct Done<W> {
    pub(super) ticket: u64,
    /// The work, or the reason why it is lost.
    pub(super) work: Result<W, String>,
    pub(super) queued: Duration,
    pub(super) ran: Duration,
}

struct Thread {
    /// The ticket of the order that it works on.
    current: Arc<AtomicU64>,
    handle: threads::Handle<()>,
}

pub(super) struct Pool<W> {
    spec: PoolSpec<W>,
    name: String,
    size: usize,
    threads: Vec<Thread>,
    /// Threads that were given up, each with the ticket of its overdue order.
    overdue: Vec<(u64, Thread)>,
    /// Orders that were given up before a thread had taken them.
    expired: Vec<u64>,
    /// The newest order that was given up. All older ones that still wait are given up too: they have waited longer.
    expired_up_to: Arc<AtomicU64>,
    last_ticket: u64,
    /// Number of orders that threads have or that wait for a thread.
    running: usize,
    orders: Option<Sender<WorkOrder<W>>>,
    taken: Receiver<WorkOrder<W>>,
    report: Sender<Done<W>>,
    done: Receiver<Done<W>>,
    wake: SyncActivator,
}

impl<W: Send + 'static> Pool<W> {
    pub(super) fn start(name: &str, mut spec: PoolSpec<W>, wake: SyncActivator) -> Result<Self, JobError> {
        let runners = std::mem::take(&mut spec.runners);
        let size = runners.len();
        spec.max_in_flight = spec.max_in_flight.max(size);
        let capacity = spec.max_in_flight * 2;
        let ((orders, taken), (report, done)) = (bounded(capacity), bounded(capacity));
        let mut pool = Self {
            spec,
            name: name.to_owned(),
            size,
            threads: Vec::new(),
            overdue: Vec::new(),
            expired: Vec::new(),
            expired_up_to: Arc::new(AtomicU64::new(NONE)),
            last_ticket: NONE,
            running: 0,
            orders: Some(orders),
            taken,
            report,
            done,
            wake,
        };
        for runner in runners {
            pool.spawn(runner)?;
        }
        Ok(pool)
    }

    fn spawn(&mut self, runner: Box<dyn BatchRunner<W>>) -> Result<(), JobError> {
        let current = Arc::new(AtomicU64::new(NONE));
        let desk = Desk {
            current: Arc::clone(&current),
            expired_up_to: Arc::clone(&self.expired_up_to),
            orders: self.taken.clone(),
            report: self.report.clone(),
            wake: self.wake.clone(),
        };
        // The thread is where it is started: the pool is built before the operator's first turn.
        let _here = AtOperator::enter(&Arc::from(&*self.name));
        let handle = threads::spawn(format!("{}-pool", self.name), move || desk.work_off(runner))
            .map_err(|source| JobError::Io { what: format!("start a thread of \"{}\"", self.name), source })?;
        self.threads.push(Thread { current, handle });
        Ok(())
    }

    pub(super) fn ordered(&self) -> bool {
        self.spec.ordered
    }

    /// Returns whether a thread is waiting for work.
    pub(super) fn has_free_thread(&self) -> bool {
        self.running < self.threads.len()
    }

    /// Returns whether one more batch may be in flight. Some batches wait, so that a thread finds the next one when it
    /// is done.
    pub(super) fn has_room(&self) -> bool {
        self.running < self.spec.max_in_flight && self.orders.as_ref().is_some_and(|orders| !orders.is_full())
    }

    /// Returns whether all threads are overdue, so that nothing can be run.
    pub(super) fn is_dead(&self) -> bool {
        self.threads.is_empty()
    }

    /// Returns how long a batch may be with the threads.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.spec.deadline
    }

    /// Hands a batch to the threads; [`has_room`](Self::has_room) must be true. Returns its ticket.
    pub(super) fn submit(&mut self, work: W) -> u64 {
        self.last_ticket += 1;
        let order = WorkOrder { ticket: self.last_ticket, work, sent: threads::now() };
        let sent = self.orders.as_ref().map(|orders| orders.try_send(order).is_ok());
        debug_assert_eq!(sent, Some(true), "only where there is room");
        self.running += 1;
        self.last_ticket
    }

    /// Returns the next outcome that has arrived, except those of batches that were given up.
    pub(super) fn collect(&mut self) -> Result<Option<Done<W>>, JobError> {
        while let Ok(done) = self.done.try_recv() {
            let lost = done.work.is_err();
            if let Some(at) = self.overdue.iter().position(|(ticket, _)| *ticket == done.ticket) {
                let (_, thread) = self.overdue.swap_remove(at);
                // The overdue thread has returned after all and is used again, unless it panicked.
                self.threads.extend((!lost).then_some(thread));
                continue;
            }
            if lost {
                // A thread that lost its order marks itself before it ends.
                self.threads.retain(|thread| thread.current.load(Ordering::Acquire) != ENDED);
                self.replenish()?;
            }
            if let Some(at) = self.expired.iter().position(|ticket| *ticket == done.ticket) {
                self.expired.swap_remove(at);
                continue;
            }
            self.running = self.running.saturating_sub(1);
            return Ok(Some(done));
        }
        Ok(None)
    }

    /// Gives up the batch `ticket`, and the thread that runs it, which is replaced.
    pub(super) fn give_up(&mut self, ticket: u64) -> Result<(), JobError> {
        self.running = self.running.saturating_sub(1);
        // Stored before the threads are checked: a thread that takes the order after the check sees this and skips
        // it.
        let waited_as_long = self.expired_up_to.load(Ordering::SeqCst).max(ticket);
        self.expired_up_to.store(waited_as_long, Ordering::SeqCst);
        let has_it = |thread: &Thread| thread.current.load(Ordering::SeqCst) == ticket;
        let Some(at) = self.threads.iter().position(has_it) else {
            self.expired.push(ticket);
            return Ok(());
        };
        self.overdue.push((ticket, self.threads.swap_remove(at)));
        tracing::warn!(
            operator = self.name,
            overdue = self.overdue.len(),
            "a thread has not finished its batch by the deadline: another one takes its place"
        );
        self.replenish()
    }

    /// Starts replacements for lost threads, as long as not too many are overdue.
    fn replenish(&mut self) -> Result<(), JobError> {
        while self.threads.len() < self.size && self.overdue.len() <= self.size * OVERDUE_LIMIT {
            self.spawn((self.spec.open)())?;
        }
        Ok(())
    }
}

/// A thread's share of the pool.
struct Desk<W> {
    current: Arc<AtomicU64>,
    expired_up_to: Arc<AtomicU64>,
    orders: Receiver<WorkOrder<W>>,
    report: Sender<Done<W>>,
    wake: SyncActivator,
}

impl<W: Send + 'static> Desk<W> {
    /// Runs one order after the other until the pool ends.
    fn work_off(self, mut runner: Box<dyn BatchRunner<W>>) {
        while let Some(WorkOrder { ticket, mut work, sent }) = threads::receive(&self.orders) {
            self.current.store(ticket, Ordering::SeqCst);
            let started = threads::now();
            let queued = started.saturating_duration_since(sent);
            let is_given_up = ticket <= self.expired_up_to.load(Ordering::SeqCst);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                if !is_given_up {
                    runner.run(&mut work);
                }
            }));
            let lost = outcome.is_err();
            let work = outcome.map(|()| work).map_err(|panic| panic_text(&*panic));
            self.current.store(if lost { ENDED } else { NONE }, Ordering::SeqCst);
            let sent = threads::send(&self.report, Done { ticket, work, queued, ran: threads::since(started) });
            // An error means that the worker is gone: then there is nothing to wake.
            _ = self.wake.activate();
            if lost || !sent {
                return;
            }
        }
    }
}

impl<W> Drop for Pool<W> {
    fn drop(&mut self) {
        self.orders = None;
        while self.taken.try_recv().is_ok() {}
        let until = threads::now() + LAST_RUN;
        for thread in self.threads.drain(..) {
            while !thread.handle.is_finished() && threads::now() < until {
                while self.done.try_recv().is_ok() {}
                threads::pause(Duration::from_micros(200));
            }
            if thread.handle.is_finished() {
                drop(thread.handle.join());
            } else {
                tracing::warn!(operator = self.name, "a thread is still running a batch; the job ends without it");
            }
        }
    }
}
