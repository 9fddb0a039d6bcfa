//! The only place where threads of a job are started, wait, read the monotonic clock, and end.
//!
//! In a job all threads run concurrently, and each function here does what its counterpart in the standard library
//! does. In a simulation (`testing/simulation`) each thread has a slot, and a scheduler decides whose turn it is:
//! one thread runs at a time, from one wait to the next, and the scheduler sets the time. A job has no slots; the
//! cost is one read of a thread-local.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use timely::worker::Worker;

use crate::error::JobError;
use crate::place::Place;

/// The scheduler of a simulated job, which decides whose turn it is among the threads. All methods except
/// [`begin`](Self::begin) and [`rest`](Self::rest) return at once.
pub(crate) trait Scheduler: Send + Sync {
    /// Announces a thread that will begin: a worker, or another thread, started by the thread at slot `by`.
    /// Returns its slot.
    fn announce(&self, by: Option<usize>, name: &str) -> usize;
    /// Puts the calling thread into its slot; returns when its first turn has come.
    fn begin(&self, slot: usize);
    /// Ends the turn of `slot`; returns when the next one has come. False means that the job has crashed and the
    /// thread must not do anything any more.
    fn rest(&self, slot: usize, rest: Rest) -> bool;
    /// Ends the thread at `slot`.
    fn end(&self, slot: usize);
    /// Returns whether the thread has ended; a thread that waits is woken, so that it can check whether it should
    /// end.
    fn ends(&self, slot: usize) -> bool;
    fn now(&self) -> Instant;
}

/// The reason for which a thread waits.
#[cfg_attr(not(any(test, feature = "testing")), expect(dead_code, reason = "only a simulation asks what it is"))]
pub(crate) enum Rest {
    /// Nothing: it goes on as soon as its turn comes.
    Busy,
    /// A time, or any action of another thread, whichever comes first.
    Idle { until: Instant },
    /// A time.
    Until(Instant),
    /// A queue: the function returns true once the thread can go on.
    Queue(Box<dyn Fn() -> bool + Send>),
    /// The end of another thread.
    End(usize),
}

/// The slot of a thread in a simulation; dropping it ends the thread there.
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

/// Takes a slot that was announced for this thread; returns when its first turn has come.
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

/// The handle of a thread that [`spawn`] has started.
pub struct Handle<T> {
    thread: JoinHandle<T>,
    scheduled: Option<Scheduled>,
}

/// Starts a thread of this name. The lines of its log name the worker and the operator that start it.
///
/// # Errors
/// When the operating system cannot start another thread.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn spawn<T: Send + 'static>(name: String, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Handle<T>> {
    let scheduled = scheduled()
        .map(|Scheduled { scheduler, slot }| Scheduled { slot: scheduler.announce(Some(slot), &name), scheduler });
    let (slot, place) = (scheduled.clone(), Place::here());
    let work = move || {
        let _place = place.enter();
        let _slot = slot.map(|Scheduled { scheduler, slot }| take_slot(&scheduler, slot));
        work()
    };
    let thread = std::thread::Builder::new().name(name).spawn(work)?;
    Ok(Handle { thread, scheduled })
}

impl<T> Handle<T> {
    /// Returns whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        match &self.scheduled {
            None => self.thread.is_finished(),
            Some(Scheduled { scheduler, slot }) => scheduler.ends(*slot),
        }
    }

    /// Waits until the thread has ended, and returns its result.
    ///
    /// # Errors
    /// When the thread panicked: the payload of the panic.
    pub fn join(self) -> std::thread::Result<T> {
        if let (Some(its), Some(own)) = (&self.scheduled, scheduled()) {
            while !its.scheduler.ends(its.slot) {
                own.rest(Rest::End(its.slot));
            }
        }
        self.thread.join()
    }
}

/// Waits for the next message; returns `None` when there are no senders any more.
pub fn receive<T: Send + 'static>(queue: &Receiver<T>) -> Option<T> {
    let Some(scheduled) = scheduled() else { return queue.recv().ok() };
    loop {
        // Also if a message is there already: each message gets a turn of its own.
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

/// Sends a message, waiting for room in the queue. Returns false if there is no receiver any more.
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

/// Returns the time of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn now() -> Instant {
    let simulated = SCHEDULED.with_borrow(|scheduled| scheduled.as_ref().map(|scheduled| scheduled.scheduler.now()));
    simulated.unwrap_or_else(Instant::now)
}

/// Returns the time that has passed since `then`.
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Has this thread wait for about `time`, for instance as the backoff of a retry. Only for threads whose work may
/// block.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn pause(time: Duration) {
    match scheduled() {
        None => std::thread::park_timeout(time),
        Some(scheduled) => drop(scheduled.rest(Rest::Until(scheduled.scheduler.now() + time))),
    }
}

/// How much of the processor a thread gets beside others that use it all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// About a tenth of a core.
    Low,
    /// Next to nothing.
    Lowest,
}

/// Lowers the priority of this thread, and of those that it starts from now on.
pub fn step_back(to: Priority) {
    // By how much `nice` is raised; its scale ends at 19.
    let nice = match to {
        Priority::Low => 10,
        Priority::Lowest => 19,
    };
    // In a simulation threads take turns: all of them would wait for this one.
    if scheduled().is_none()
        && let Err(error) = rustix::process::nice(nice)
    {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// The pace of a thread with a low priority. A priority does not hold inside the system, where files are read and memory is
/// cleared: so after a piece of work that took the processor from others, the thread rests.
pub struct Pace {
    /// When the piece of work began.
    since: Instant,
    /// What this thread had used by then; none where the system does not say.
    then: Option<Used>,
    /// How long this thread has run since its pace began.
    ran: Duration,
}

impl Pace {
    /// By how much longer the thread rests than it has run: others keep nine tenths of its processor.
    const REST: u32 = 9;
    const MOST: Duration = Duration::from_secs(10);
    /// For how long it runs without a rest. What is over by then is over before it is noticed.
    const FREE: Duration = Duration::from_millis(250);

    /// Begins a piece of work.
    pub fn begin() -> Self {
        Self { since: now(), then: Used::by_this_thread(), ran: Duration::ZERO }
    }

    /// Rests after a piece of work if this thread had to wait for a processor for a tenth of it, and begins another one.
    pub fn rest(&mut self) {
        let took = since(self.since);
        if let Some((now, then)) = Used::by_this_thread().zip(self.then) {
            // Not by the time that passed: where many wait for a processor, that is long even for little work.
            let (ran, waited) = (now.running.saturating_sub(then.running), now.waiting.saturating_sub(then.waiting));
            self.ran += ran;
            if self.ran > Self::FREE && waited * 10 > took {
                pause((ran * Self::REST).min(Self::MOST));
            }
        }
        *self = Self { ran: self.ran, ..Self::begin() };
    }
}

/// How long a thread has run, and waited for a processor.
#[derive(Clone, Copy)]
struct Used {
    running: Duration,
    waiting: Duration,
}

impl Used {
    /// None in a simulation, where no thread waits for a processor.
    fn by_this_thread() -> Option<Self> {
        if scheduled().is_some() {
            return None;
        }
        // Nanoseconds on a processor, nanoseconds of waiting for one, number of slices.
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let mut fields = text.split_whitespace().map_while(|field| field.parse().ok().map(Duration::from_nanos));
        Some(Self { running: fields.next()?, waiting: fields.next()? })
    }
}

/// Runs the operators of `worker`, or waits up to `park` until there is something to do.
///
/// # Errors
/// When a simulation has crashed the job.
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

/// Marks a place where a simulation may crash the job.
///
/// # Errors
/// When the simulation crashes the job here.
pub(crate) fn may_crash() -> Result<(), JobError> {
    scheduled().map_or(Ok(()), |scheduled| go_on(&scheduled, Rest::Busy))
}

fn go_on(scheduled: &Scheduled, rest: Rest) -> Result<(), JobError> {
    if scheduled.rest(rest) { Ok(()) } else { Err(JobError::Crashed) }
}
