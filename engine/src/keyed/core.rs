//! The shell without timely: record order, timers, state and dead letters of one keyed operator on one worker.
//!
//! `operator.rs` drives it by timely's frontier, and [`LogicTest`](crate::testing::LogicTest) by the steps of a test:
//! a test runs the same code as a job.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tidemill_state::{OperatorStates, OrderBuffer, TimerTable, WorkerState, hash_key};

use super::context::{Context, is_late};
use super::logic::{KeyedLogic, LogicError, Order};
use super::reached::Reached;
use super::states::States;
use super::waits::Waits;
use crate::error::JobError;
use crate::metrics::{OperatorMetrics, UserCounters};
use crate::record::{Arrival, DeadLetter, Record};
use crate::time::{EventTime, ProcessingTime};

/// Number of records whose state is prefetched together, ahead of their turn.
const BLOCK: usize = 16;
/// Number of records whose state is loaded together, ahead of their turn, if it is not all in memory. A multiple of the
/// block.
const LOADED_AHEAD: usize = 256;

/// The function that takes the key out of a record.
pub(crate) type KeyOf<L> = Rc<dyn Fn(&<L as KeyedLogic>::In) -> <L as KeyedLogic>::Key>;
/// The records that wait for the watermark.
type Pending<D> = Rc<RefCell<OrderBuffer<Record<D>>>>;

/// The logic, and everything it has in the state store.
pub(crate) struct Parts<L: KeyedLogic> {
    logic: L,
    timers: Rc<RefCell<TimerTable<L::Key>>>,
    processing_timers: Rc<RefCell<TimerTable<L::Key>>>,
    /// Records that wait for the watermark, under [`Order::EventTime`].
    pending: Option<Pending<L::In>>,
    states: OperatorStates,
}

impl<L: KeyedLogic> Parts<L> {
    pub(crate) fn open(
        worker_state: &mut WorkerState,
        name: &str,
        order: Order,
        key_of: &KeyOf<L>,
        logic: impl FnOnce(&mut States<'_, L::Key>) -> Result<L, JobError>,
    ) -> Result<Self, JobError> {
        let timers = worker_state.timer_table(States::<L::Key>::spec(name, "timers"))?;
        let processing_timers = worker_state.timer_table(States::<L::Key>::spec(name, "processing-timers"))?;
        let pending = match order {
            Order::EventTime => {
                let key_of = Rc::clone(key_of);
                let hash_of = Box::new(move |record: &Record<L::In>| hash_key(&key_of(&record.data)));
                Some(worker_state.order_buffer(States::<L::Key>::spec(name, "pending"), hash_of)?)
            }
            Order::Arrival => None,
        };
        let logic = logic(&mut States::new(worker_state, name))?;
        Ok(Self { logic, timers, processing_timers, pending, states: worker_state.operator(name) })
    }
}

/// Output that has been emitted and not yet been sent downstream.
pub(crate) struct Buffers<O, S> {
    pub(crate) out: Vec<Record<O>>,
    pub(crate) side: Vec<Record<S>>,
    pub(crate) dead: Vec<Record<DeadLetter>>,
}

pub(crate) struct Core<L: KeyedLogic> {
    name: String,
    key_of: KeyOf<L>,
    /// The watermark that decides whether a record is late: the one before the step that releases it.
    pub(crate) lateness: EventTime,
    pub(crate) now: Arrival,
    /// Whether a record was handled since the turn began.
    pub(crate) has_worked: bool,
    waits: Option<Waits>,
    /// The key hashes of the block of records being applied.
    hashes: Vec<u64>,
    /// The keys of the records whose state is loaded ahead.
    ahead: Vec<L::Key>,
    pub(crate) buffers: Buffers<L::Out, L::Side>,
    parts: Parts<L>,
    pub(crate) reached: Reached,
    counters: UserCounters,
    pub(crate) metrics: Arc<OperatorMetrics>,
}

impl<L: KeyedLogic> Core<L> {
    pub(crate) fn new(
        name: &str,
        key_of: KeyOf<L>,
        parts: Parts<L>,
        (watermark, reached): (EventTime, Reached),
        now: Arrival,
        metrics: Arc<OperatorMetrics>,
    ) -> Self {
        let waits = parts.pending.is_some().then(|| Waits::new(&metrics));
        Self {
            name: name.to_owned(),
            key_of,
            lateness: watermark,
            now,
            has_worked: false,
            waits,
            hashes: Vec::with_capacity(BLOCK),
            ahead: Vec::new(),
            buffers: Buffers { out: Vec::new(), side: Vec::new(), dead: Vec::new() },
            parts,
            reached,
            counters: UserCounters::new(Arc::clone(&metrics)),
            metrics,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the operator's states, to be sealed.
    pub(crate) fn states(&mut self) -> &mut OperatorStates {
        &mut self.parts.states
    }

    /// Returns the number of records that wait for the watermark.
    pub(crate) fn pending(&self) -> usize {
        self.parts.pending.as_ref().map_or(0, |pending| pending.borrow().len())
    }

    /// Returns the keys for which the logic wants `on_restored` to be called after a restore.
    pub(crate) fn restored_keys(&self) -> Result<Vec<L::Key>, JobError> {
        Ok(self.parts.logic.restored_keys()?)
    }

    /// Calls the logic's `on_restored` for each of `keys`.
    pub(crate) fn bring_back(&mut self, keys: &[L::Key]) -> Result<(), JobError> {
        let (watermark, now) = (self.lateness, self.now);
        keys.iter().try_for_each(|key| {
            let result = self.with_context(key, hash_key(key), watermark, now, |logic, ctx| {
                // Operators downstream begin at this watermark for all keys, whatever a key had reached.
                ctx.watermark = watermark;
                logic.on_restored(ctx)
            });
            self.settle(result, key, watermark)
        })
    }

    /// Applies records at once, or keeps them pending until the watermark has passed them.
    pub(crate) fn take(&mut self, records: Vec<Record<L::In>>) -> Result<(), JobError> {
        let of = records.len() as u64;
        self.metrics.records_in.add(of);
        #[cfg(feature = "http")]
        self.metrics.hot_keys.offer(records.len(), |at| records.get(at).map(|record| (self.key_of)(&record.data)));
        let mut late = 0;
        match self.parts.pending.clone() {
            None => {
                let mut records = records.into_iter();
                for turn in 0.. {
                    if records.as_slice().is_empty() {
                        break;
                    }
                    if turn % (LOADED_AHEAD / BLOCK) == 0 {
                        self.look_ahead(records.as_slice().iter());
                        self.load_ahead()?;
                    }
                    let block = records.as_slice().iter().take(BLOCK);
                    self.hashes.clear();
                    self.hashes.extend(block.map(|record| hash_key(&(self.key_of)(&record.data))));
                    self.parts.states.prefetch(&self.hashes);
                    for (at, record) in records.by_ref().take(BLOCK).enumerate() {
                        let hash = self.hashes[at];
                        late += u64::from(is_late(record.event_time, self.watermark_of(hash)));
                        self.apply(hash, record)?;
                    }
                }
            }
            Some(pending) => {
                let mut latest = None;
                for record in records {
                    let hash = || hash_key(&(self.key_of)(&record.data));
                    let time = record.event_time;
                    // In most runs no key is ahead of the operator: then the hash is not computed.
                    let behind = is_late(time, self.lateness)
                        || (self.reached.is_ahead() && is_late(time, self.watermark_of(hash())));
                    if behind {
                        late += 1;
                        self.apply(hash(), record)?;
                    } else {
                        let tie = L::tie_break(&record.data);
                        pending.borrow_mut().push(record.event_time.0, tie, record);
                        latest = Some(time);
                    }
                }
                if let (Some(time), Some(waits)) = (latest, &mut self.waits) {
                    waits.begin(time, self.now);
                }
            }
        }
        self.metrics.count_late(late, of);
        Ok(())
    }

    /// Notes the keys of the first of these records, if their state is not all in memory.
    fn look_ahead<'r>(&mut self, records: impl Iterator<Item = &'r Record<L::In>>)
    where
        L::In: 'r,
    {
        self.ahead.clear();
        if self.parts.states.are_partial() {
            self.ahead.extend(records.take(LOADED_AHEAD).map(|record| (self.key_of)(&record.data)));
        }
    }

    /// Loads the state of the noted keys.
    fn load_ahead(&self) -> Result<(), JobError> {
        if self.ahead.is_empty() { Ok(()) } else { Ok(self.parts.states.load_ahead(&self.ahead)?) }
    }

    /// Returns the watermark of a key. After a restore the key's state may be ahead of the operator: its timers up to
    /// there have already fired.
    fn watermark_of(&self, hash: u64) -> EventTime {
        if L::COMES_AGAIN { self.lateness } else { self.lateness.max(self.reached.of_hash(hash)) }
    }

    fn apply(&mut self, hash: u64, record: Record<L::In>) -> Result<(), JobError> {
        self.has_worked = true;
        let key = (self.key_of)(&record.data);
        let (event_time, arrival) = (record.event_time, record.arrival);
        let result = self.with_context(&key, hash, event_time, arrival, |logic, ctx| logic.on_record(ctx, record));
        self.settle(result, &key, event_time)
    }

    // A record is moved into `f`; inlining saves a copy of it.
    #[inline(always)]
    fn with_context<R>(
        &mut self,
        key: &L::Key,
        hash: u64,
        event_time: EventTime,
        arrival: Arrival,
        f: impl FnOnce(&mut L, &mut Context<'_, L::Key, L::Out, L::Side>) -> R,
    ) -> R {
        let watermark = self.watermark_of(hash);
        let Parts { logic, timers, processing_timers, .. } = &mut self.parts;
        let mut context = Context {
            key,
            hash,
            event_time,
            arrival,
            watermark,
            reached: &self.reached,
            now: ProcessingTime((self.now.0 / 1000) as i64),
            timers: &mut timers.borrow_mut(),
            processing_timers: &mut processing_timers.borrow_mut(),
            out: &mut self.buffers.out,
            side: &mut self.buffers.side,
            counters: &mut self.counters,
        };
        f(logic, &mut context)
    }

    /// Makes a dead letter of a record that the logic cannot use; any other error stops the job.
    fn settle(&mut self, result: Result<(), LogicError>, key: &L::Key, at: EventTime) -> Result<(), JobError> {
        match result {
            Ok(()) => Ok(()),
            Err(LogicError::State(error)) => Err(error.into()),
            Err(LogicError::Record(reason)) => {
                self.metrics.count_dead_letter(&reason);
                let origin = format!("{} at {at}", self.name);
                let letter = DeadLetter::new(&self.name, origin, reason, format!("key {key:?}").as_bytes());
                self.buffers.dead.push(Record { event_time: at, arrival: self.now, data: letter });
                Ok(())
            }
        }
    }

    /// Releases the records before `watermark` and fires the timers up to it, in event-time order. Timers at the
    /// end of time fire after the records at the end of time, since no record can come after those.
    pub(crate) fn pass(&mut self, watermark: EventTime) -> Result<(), JobError> {
        if let Some(pending) = self.parts.pending.clone() {
            pending.borrow_mut().release_before(watermark.0);
            if let Some(waits) = &mut self.waits {
                waits.end(watermark, self.now);
            }
            for at in 0.. {
                if at % LOADED_AHEAD == 0 {
                    // The buffer of pending records is a state, too: it is not borrowed any more when states are loaded.
                    self.look_ahead(pending.borrow().due());
                    self.load_ahead()?;
                }
                if at % BLOCK == 0 {
                    self.hashes.clear();
                    self.hashes.extend(pending.borrow().due_hashes().take(BLOCK));
                    self.parts.states.prefetch(&self.hashes);
                }
                let next = pending.borrow_mut().next_due();
                let Some((time, hash, record)) = next else { break };
                self.fire_timers(EventTime(time.min(i64::MAX - 1)))?;
                self.apply(hash, record)?;
            }
        }
        self.lateness = watermark;
        self.fire_timers(watermark)?;
        self.parts.states.pass(watermark.0, (self.now.0 / 1000) as i64);
        Ok(())
    }

    /// Fires the timers up to `up_to`, including those that are set by timers as they fire.
    pub(crate) fn fire_timers(&mut self, up_to: EventTime) -> Result<(), JobError> {
        loop {
            let due = self.parts.timers.borrow_mut().pop_due(up_to.0);
            let Some((at, keys)) = due else { return Ok(()) };
            debug_assert!(at <= up_to.0);
            let (at, now) = (EventTime(at), self.now);
            for (turn, block) in keys.chunks(BLOCK).enumerate() {
                if turn % (LOADED_AHEAD / BLOCK) == 0 && self.parts.states.are_partial() {
                    let ahead: Vec<_> = keys.iter().skip(turn * BLOCK).take(LOADED_AHEAD).cloned().collect();
                    self.parts.states.load_ahead(&ahead)?;
                }
                let mut hashes = [0; BLOCK];
                hashes.iter_mut().zip(block).for_each(|(hash, key)| *hash = hash_key(key));
                self.parts.states.prefetch(&hashes[..block.len()]);
                for (key, hash) in block.iter().zip(hashes) {
                    let result = self.with_context(key, hash, at, now, |logic, ctx| logic.on_timer(ctx, at));
                    self.settle(result, key, at)?;
                }
            }
        }
    }

    /// Fires the processing-time timers that are due. Returns the time of the next one, if there is one.
    pub(crate) fn fire_processing_timers(&mut self) -> Result<Option<i64>, JobError> {
        let now_ms = (self.now.0 / 1000) as i64;
        loop {
            let due = self.parts.processing_timers.borrow_mut().pop_due(now_ms);
            let Some((at, keys)) = due else { break };
            for key in keys {
                let (hash, time, now) = (hash_key(&key), self.lateness, self.now);
                let result =
                    self.with_context(&key, hash, time, now, |l, ctx| l.on_processing_timer(ctx, ProcessingTime(at)));
                self.settle(result, &key, time)?;
            }
        }
        Ok(self.parts.processing_timers.borrow().next_time())
    }
}
