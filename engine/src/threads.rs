//! The one door through which threads of a job begin, wait, look at the monotonic clock, and end.
//!
//! In a job all threads run at once, and everything here is what it says in the standard library. In a simulation
//! (`testing/simulation`) each thread has a slot, and a scheduler that says whose turn it is: one thread runs at a time, from
//! one wait to the next, and time is what the scheduler says. A job has no slots: what that costs is a look at a thread-local.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use timely::worker::Worker;

use crate::error::JobError;

/// Says whose turn it is among the threads of a simulated job. All but [`begin`](Self::begin) and [`rest`](Self::rest)
/// return at once.
pub(crate) trait Scheduler: Send + Sync {
    /// A thread will begin: a worker, or, by the thread at slot `by`, one beside it. Returns its slot.
    fn announce(&self, by: Option<usize>, name: &str) -> usize;
    /// The calling thread takes its slot; returns when its first turn has come.
    fn begin(&self, slot: usize);
    /// Ends the turn of `slot`; returns when the next one has come. False: the job is lost, nothing may be done any more.
    fn rest(&self, slot: usize, rest: Rest) -> bool;
    /// The thread ends.
    fn end(&self, slot: usize);
    /// Whether the thread has ended; one that waits is woken, to see whether it should.
    fn ends(&self, slot: usize) -> bool;
    fn now(&self) -> Instant;
}

/// What a thread waits for.
#[cfg_attr(not(any(test, feature = "testing")), expect(dead_code, reason = "only a simulation asks what it is"))]
pub(crate) enum Rest {
    /// Nothing: it goes on as soon as it may.
    Busy,
    /// Time, or anything that another thread does.
    Idle { until: Instant },
    /// Time.
    Until(Instant),
    /// A queue: this holds once it can go on.
    Queue(Box<dyn Fn() -> bool + Send>),
    /// The end of another thread.
    End(usize),
}

/// A thread's place in a simulation, given up when this is dropped.
pub(crate) struct Slot {
    _only_here: std::marker::PhantomData<*const ()>,
}

#[derive(Clone)]
struct Scheduled {
    scheduler: Arc<dyn Scheduler>,
    slot: usize,
}

thread_local! {
    static SCHEDULED: RefCell<Option<Scheduled>> = const { RefCell::new(None) };
}

fn scheduled() -> Option<Scheduled> {
    SCHEDULED.with_borrow(Clone::clone)
}

impl Scheduled {
    fn rest(&self, rest: Rest) -> bool {
        self.scheduler.rest(self.slot, rest)
    }
}

/// Takes a slot that was announced, for this thread; returns in its first turn.
pub(crate) fn take_slot(scheduler: &Arc<dyn Scheduler>, slot: usize) -> Slot {
    SCHEDULED.set(Some(Scheduled { scheduler: Arc::clone(scheduler), slot }));
    scheduler.begin(slot);
    Slot { _only_here: std::marker::PhantomData }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(Scheduled { scheduler, slot }) = SCHEDULED.take() {
            scheduler.end(slot);
        }
    }
}

/// A thread that was started here.
pub struct Handle<T> {
    thread: JoinHandle<T>,
    scheduled: Option<Scheduled>,
}

/// Starts a thread of this name.
///
/// # Errors
/// When the system has no room for another one.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn spawn<T: Send + 'static>(name: String, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Handle<T>> {
    let scheduled = scheduled()
        .map(|Scheduled { scheduler, slot }| Scheduled { slot: scheduler.announce(Some(slot), &name), scheduler });
    let slot = scheduled.clone();
    let work = move || {
        let _slot = slot.map(|Scheduled { scheduler, slot }| take_slot(&scheduler, slot));
        work()
    };
    let thread = std::thread::Builder::new().name(name).spawn(work)?;
    Ok(Handle { thread, scheduled })
}

impl<T> Handle<T> {
    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        match &self.scheduled {
            None => self.thread.is_finished(),
            Some(Scheduled { scheduler, slot }) => scheduler.ends(*slot),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it panicked with.
    pub fn join(self) -> std::thread::Result<T> {
        if let (Some(its), Some(own)) = (&self.scheduled, scheduled()) {
            while !its.scheduler.ends(its.slot) {
                own.rest(Rest::End(its.slot));
            }
        }
        self.thread.join()
    }
}

/// Waits for the next message; none when there are no senders any more.
pub(crate) fn receive<T: Send + 'static>(queue: &Receiver<T>) -> Option<T> {
    let Some(scheduled) = scheduled() else { return queue.recv().ok() };
    loop {
        // Also where a message is there: each is a turn of its own.
        let waiting = queue.clone();
        if !scheduled.rest(Rest::Queue(Box::new(move || !waiting.is_empty()))) {
            return None;
        }
        match queue.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
    }
}

/// Sends a message, waiting for room. Whether it was sent: there is a receiver.
pub(crate) fn send<T: Send + 'static>(queue: &Sender<T>, mut message: T) -> bool {
    let Some(scheduled) = scheduled() else { return queue.send(message).is_ok() };
    loop {
        match queue.try_send(message) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => message = back,
        }
        let queue = queue.clone();
        if !scheduled.rest(Rest::Queue(Box::new(move || !queue.is_full()))) {
            return false;
        }
    }
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn now() -> Instant {
    let simulated = SCHEDULED.with_borrow(|scheduled| scheduled.as_ref().map(|scheduled| scheduled.scheduler.now()));
    simulated.unwrap_or_else(Instant::now)
}

/// How long ago `then` was.
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Has this thread wait for about so long: a retry's backoff, say. For threads that do work which may block.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn pause(time: Duration) {
    match scheduled() {
        None => std::thread::park_timeout(time),
        Some(scheduled) => drop(scheduled.rest(Rest::Until(scheduled.scheduler.now() + time))),
    }
}

/// Has this thread use only what others leave of the processors.
pub(crate) fn step_back() {
    /// By how much `nice` is raised: to the end of its scale.
    const LOWEST_PRIORITY: i32 = 19;
    // Where threads take turns, all would wait for it.
    if scheduled().is_none()
        && let Err(error) = rustix::process::nice(LOWEST_PRIORITY)
    {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Lets the operators of `worker` work, or waits up to `park` for there to be something to do.
///
/// # Errors
/// When the job is lost, by a simulation's crash.
pub(crate) fn step(worker: &mut Worker, park: Duration) -> Result<(), JobError> {
    let Some(scheduled) = scheduled() else {
        worker.step_or_park(Some(park));
        return Ok(());
    };
    worker.step();
    let idle = worker.activations().borrow().empty_for().is_none();
    let rest = if idle { Rest::Idle { until: scheduled.scheduler.now() + park } } else { Rest::Busy };
    go_on(&scheduled, rest)
}

/// A place where a simulation may have the job crash.
///
/// # Errors
/// When it does.
pub(crate) fn may_crash() -> Result<(), JobError> {
    scheduled().map_or(Ok(()), |scheduled| go_on(&scheduled, Rest::Busy))
}

fn go_on(scheduled: &Scheduled, rest: Rest) -> Result<(), JobError> {
    if scheduled.rest(rest) { Ok(()) } else { Err(JobError::Crashed) }
}
