//! The shell as a timely operator. See the picture in the parent module.
//!
//! One capability per output stands at the moment that was worked off: it is lowered only after the
//! records and timers up to there were handled, so a downstream watermark never runs ahead of results.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_state::{OperatorStates, OrderBuffer, TimerTable, hash_key};
use timely::dataflow::Stream as TimelyStream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::align::{Aligner, Step};
use super::context::Context;
use super::logic::{KeyedLogic, LogicError, Order};
use super::states::States;
use crate::context::Shared;
use crate::error::JobError;
use crate::exchange::Routed;
use crate::metrics::OperatorMetrics;
use crate::record::{Arrival, DeadLetter, Record};
use crate::stream::{Flow, Stream};
use crate::time::{Epoch, EventTime, Moment};

/// Entries of state that are written in one turn when an epoch has ended: records wait no longer than that takes.
const SEAL_SLICE: usize = 128;

/// Records whose state is looked for together, ahead of their turn.
const BLOCK: usize = 16;

/// The outputs of a keyed operator.
pub struct KeyedOutput<'s, O: crate::record::Data, S: crate::record::Data> {
    /// Results.
    pub main: Stream<'s, O>,
    /// The side output.
    pub side: Stream<'s, S>,
}

/// Builds the operator on this worker.
pub(crate) fn keyed<'s, L: KeyedLogic>(
    flow: &Flow<'s>,
    routed: TimelyStream<'s, Moment, Vec<Routed<L::In>>>,
    key_of: KeyOf<L>,
    name: &str,
    order: Order,
    logic: impl FnOnce(&mut States<'_, L::Key>) -> Result<L, JobError>,
) -> Result<KeyedOutput<'s, L::Out, L::Side>, JobError> {
    let context = flow.claim_name(name)?;
    let shell_parts = Parts::open(&context, name, order, &key_of, logic)?;
    let metrics = context.process.metrics.operator(name, "keyed", context.worker);
    context.epochs.borrow_mut().join();

    let mut builder = OperatorBuilder::new(name.to_owned(), flow.scope());
    let mut input = builder.new_input(routed, Exchange::new(|batch: &Routed<L::In>| u64::from(batch.target)));
    builder.set_notify_for(0, FrontierInterest::Always);
    let (main, main_stream) = builder.new_output();
    let (side, side_stream) = builder.new_output();
    let (dead, dead_stream) = builder.new_output();
    let activator = flow.scope().activator_for(builder.operator_info().address);

    builder.build(move |mut capabilities| {
        let restored = restored_watermark(&context, name);
        let start = Moment::new(context.first_epoch, restored);
        let [main_cap, side_cap, dead_cap] = three(&mut capabilities);
        let mut ports = Ports {
            main: Port::new(main, main_cap, start),
            side: Port::new(side, side_cap, start),
            dead: Port::new(dead, dead_cap, start),
        };
        let mut shell = Shell {
            name: name.to_owned(),
            key_of,
            aligner: Aligner::new(start.epoch, start.watermark),
            lateness: start.watermark,
            now: context.process.clock.now(),
            told_held: 0,
            hashes: Vec::with_capacity(BLOCK),
            sealing: None,
            buffers: Buffers { out: Vec::new(), side: Vec::new(), dead: Vec::new() },
            parts: shell_parts,
            metrics,
            activator,
            context,
        };
        move |frontiers| {
            if shell.context.failed() {
                return;
            }
            shell.now = shell.context.process.clock.now();
            let mut result = Ok(());
            input.for_each(|capability, batches| {
                let Some(&moment) = capability.stamp().elements().first() else { return };
                for batch in batches.drain(..) {
                    if let Some(batch) = shell.aligner.admit(moment, batch)
                        && result.is_ok()
                    {
                        result = shell.apply_batch(batch);
                    }
                }
            });
            let meet = Moment::meet_of(&frontiers[0].frontier());
            let result = result.and_then(|()| shell.advance(meet, &mut ports));
            shell.context.guard(result);
        }
    });
    let main = flow.stream(main_stream);
    let side = flow.stream(side_stream);
    flow.add_dead_letters(dead_stream);
    Ok(KeyedOutput { main, side })
}

fn three(capabilities: &mut Vec<Capability<Moment>>) -> [Option<Capability<Moment>>; 3] {
    let mut drain = capabilities.drain(..);
    [drain.next(), drain.next(), drain.next()]
}

/// The watermark of the slowest old worker: a restore moves nobody's back.
fn restored_watermark(context: &Shared, name: &str) -> EventTime {
    let blobs = context.restored_blobs(&watermark_blob(name));
    let times = blobs.iter().filter_map(|blob| blob.as_slice().try_into().ok()).map(i64::from_le_bytes);
    EventTime(times.min().unwrap_or(i64::MIN))
}

fn watermark_blob(name: &str) -> String {
    format!("operator/{name}/watermark")
}

/// An output and the capability that stands at the moment worked off.
pub(crate) struct Port<D> {
    output: Output<Moment, Vec<Record<D>>>,
    capability: Option<Capability<Moment>>,
}

impl<D: 'static> Port<D> {
    pub(crate) fn new(
        output: Output<Moment, Vec<Record<D>>>,
        mut capability: Option<Capability<Moment>>,
        start: Moment,
    ) -> Self {
        if let Some(capability) = &mut capability {
            capability.downgrade(&start);
        }
        Self { output, capability }
    }

    pub(crate) fn send(&mut self, records: &mut Vec<Record<D>>) {
        if let Some(capability) = &self.capability
            && !records.is_empty()
        {
            let sent = records.len();
            self.output.activate().give(capability, records);
            records.clear();
            // What comes next is likely as much: one allocation, where timely has not given one back.
            records.reserve(sent);
        }
    }

    /// Lowers the capability to `moment`, or gives it up.
    pub(crate) fn lower(&mut self, moment: Option<Moment>) {
        match (moment, &mut self.capability) {
            (Some(moment), Some(capability)) => capability.downgrade(&moment),
            (None, capability) => *capability = None,
            (Some(_), None) => {}
        }
    }
}

/// Takes the key out of a record.
type KeyOf<L> = Rc<dyn Fn(&<L as KeyedLogic>::In) -> <L as KeyedLogic>::Key>;
/// Records that wait for the watermark.
type Held<D> = Rc<RefCell<OrderBuffer<Record<D>>>>;

struct Ports<O, S> {
    main: Port<O>,
    side: Port<S>,
    dead: Port<DeadLetter>,
}

impl<O: 'static, S: 'static> Ports<O, S> {
    fn lower(&mut self, moment: Option<Moment>) {
        self.main.lower(moment);
        self.side.lower(moment);
        self.dead.lower(moment);
    }
}

/// The logic and everything of it that is in the state store.
struct Parts<L: KeyedLogic> {
    logic: L,
    timers: Rc<RefCell<TimerTable<L::Key>>>,
    processing_timers: Rc<RefCell<TimerTable<L::Key>>>,
    /// Records that wait for the watermark, under [`Order::EventTime`].
    held: Option<Held<L::In>>,
    states: OperatorStates,
}

impl<L: KeyedLogic> Parts<L> {
    fn open(
        context: &Shared,
        name: &str,
        order: Order,
        key_of: &KeyOf<L>,
        logic: impl FnOnce(&mut States<'_, L::Key>) -> Result<L, JobError>,
    ) -> Result<Self, JobError> {
        let mut backend = context.backend.borrow_mut();
        let timers = backend.timer_table(States::<L::Key>::spec(name, "timers"))?;
        let processing_timers = backend.timer_table(States::<L::Key>::spec(name, "processing-timers"))?;
        let held = match order {
            Order::EventTime => {
                let key_of = Rc::clone(key_of);
                let hash_of = Box::new(move |record: &Record<L::In>| hash_key(&key_of(&record.data)));
                Some(backend.order_buffer(States::<L::Key>::spec(name, "held"), hash_of)?)
            }
            Order::Arrival => None,
        };
        let logic = logic(&mut States::new(&mut backend, name))?;
        Ok(Self { logic, timers, processing_timers, held, states: backend.operator(name) })
    }
}

struct Buffers<O, S> {
    out: Vec<Record<O>>,
    side: Vec<Record<S>>,
    dead: Vec<Record<DeadLetter>>,
}

struct Shell<L: KeyedLogic> {
    name: String,
    key_of: KeyOf<L>,
    aligner: Aligner<Routed<L::In>>,
    /// The watermark that records are late against: that before the step that releases them.
    lateness: EventTime,
    now: Arrival,
    told_held: i64,
    /// Of the block of records that is applied.
    hashes: Vec<u64>,
    /// The epoch whose changes are not all written yet, and the watermark it ended with.
    sealing: Option<(Epoch, EventTime)>,
    buffers: Buffers<L::Out, L::Side>,
    parts: Parts<L>,
    metrics: std::sync::Arc<OperatorMetrics>,
    activator: Activator,
    context: Shared,
}

impl<L: KeyedLogic> Shell<L> {
    /// Applies a batch of the current epoch, or holds its records until the watermark has passed them.
    fn apply_batch(&mut self, batch: Routed<L::In>) -> Result<(), JobError> {
        let (from, count) = (batch.from as usize, batch.records.len());
        self.metrics.records_in.add(count as u64);
        let mut late = 0;
        match self.parts.held.clone() {
            None => {
                let mut records = batch.records.into_iter();
                while !records.as_slice().is_empty() {
                    let block = records.as_slice().iter().take(BLOCK);
                    self.hashes.clear();
                    self.hashes.extend(block.map(|record| hash_key(&(self.key_of)(&record.data))));
                    self.parts.states.warm(&self.hashes);
                    for (at, record) in records.by_ref().take(BLOCK).enumerate() {
                        late += u64::from(record.event_time < self.lateness);
                        self.apply(self.hashes[at], record)?;
                    }
                }
            }
            Some(held) => {
                for record in batch.records {
                    if record.event_time < self.lateness {
                        late += 1;
                        self.apply(hash_key(&(self.key_of)(&record.data)), record)?;
                    } else {
                        let tie = L::tie_break(&record.data);
                        held.borrow_mut().push(record.event_time.0, tie, record);
                    }
                }
            }
        }
        self.metrics.late.add(late);
        self.context.consumed(from, count);
        Ok(())
    }

    fn apply(&mut self, hash: u64, record: Record<L::In>) -> Result<(), JobError> {
        let key = (self.key_of)(&record.data);
        let (event_time, arrival) = (record.event_time, record.arrival);
        let result = self.with_context(&key, hash, event_time, arrival, |logic, ctx| logic.on_record(ctx, record));
        self.settle(result, &key, event_time)
    }

    fn with_context<R>(
        &mut self,
        key: &L::Key,
        hash: u64,
        event_time: EventTime,
        arrival: Arrival,
        f: impl FnOnce(&mut L, &mut Context<'_, L::Key, L::Out, L::Side>) -> R,
    ) -> R {
        let Parts { logic, timers, processing_timers, .. } = &mut self.parts;
        let mut context = Context {
            key,
            hash,
            event_time,
            arrival,
            watermark: self.lateness,
            now_ms: (self.now.0 / 1000) as i64,
            timers: &mut timers.borrow_mut(),
            processing_timers: &mut processing_timers.borrow_mut(),
            out: &mut self.buffers.out,
            side: &mut self.buffers.side,
        };
        f(logic, &mut context)
    }

    /// A record the logic cannot use becomes a dead letter; anything else stops the job.
    fn settle(&mut self, result: Result<(), LogicError>, key: &L::Key, at: EventTime) -> Result<(), JobError> {
        match result {
            Ok(()) => Ok(()),
            Err(LogicError::State(error)) => Err(error.into()),
            Err(LogicError::Record(reason)) => {
                self.metrics.dead_letters.add(1);
                let origin = format!("{} at {at}", self.name);
                let letter = DeadLetter::new(&self.name, origin, reason, format!("key {key:?}").as_bytes());
                self.context.log_dead_letter(&letter);
                self.buffers.dead.push(Record { event_time: at, arrival: self.now, data: letter });
                Ok(())
            }
        }
    }

    /// Follows the frontier as far as it goes: watermark steps, closed epochs, the end.
    fn advance(&mut self, meet: Option<Moment>, ports: &mut Ports<L::Out, L::Side>) -> Result<(), JobError> {
        loop {
            let finish = self.context.epochs.borrow().finish();
            match self.aligner.step(meet, finish) {
                Step::Watermark(watermark) => {
                    self.pass(watermark)?;
                    self.flush(ports);
                    self.metrics.watermark.set(watermark.0);
                    ports.lower(Some(self.aligner.current()));
                }
                Step::Close(epoch) => {
                    self.flush(ports);
                    self.begin_seal(epoch)?;
                    let stashed = self.aligner.begin_next();
                    ports.lower(Some(self.aligner.current()));
                    for batch in stashed {
                        self.apply_batch(batch)?;
                    }
                }
                Step::Wait => break,
                Step::Finished => {
                    self.seal_on(usize::MAX)?;
                    ports.lower(None);
                    return Ok(());
                }
            }
        }
        self.seal_on(SEAL_SLICE)?;
        // Late records may have set timers that the watermark has passed already.
        self.fire_timers(self.lateness)?;
        self.fire_processing_timers()?;
        self.flush(ports);
        self.tell_held();
        Ok(())
    }

    /// Releases the records before `watermark` and fires the timers up to it, in event-time order.
    fn pass(&mut self, watermark: EventTime) -> Result<(), JobError> {
        if let Some(held) = self.parts.held.clone() {
            held.borrow_mut().release_before(watermark.0);
            for at in 0.. {
                if at % BLOCK == 0 {
                    self.hashes.clear();
                    self.hashes.extend(held.borrow().due_hashes().take(BLOCK));
                    self.parts.states.warm(&self.hashes);
                }
                let next = held.borrow_mut().next_due();
                let Some((time, hash, record)) = next else { break };
                self.fire_timers(EventTime(time))?;
                self.apply(hash, record)?;
            }
        }
        self.lateness = watermark;
        self.fire_timers(watermark)
    }

    fn fire_timers(&mut self, up_to: EventTime) -> Result<(), JobError> {
        loop {
            let due = self.parts.timers.borrow_mut().pop_due(up_to.0);
            let Some((at, keys)) = due else { return Ok(()) };
            debug_assert!(at <= up_to.0);
            let (at, now) = (EventTime(at), self.now);
            for keys in keys.chunks(BLOCK) {
                let mut hashes = [0; BLOCK];
                hashes.iter_mut().zip(keys).for_each(|(hash, key)| *hash = hash_key(key));
                self.parts.states.warm(&hashes[..keys.len()]);
                for (key, hash) in keys.iter().zip(hashes) {
                    let result = self.with_context(key, hash, at, now, |logic, ctx| logic.on_timer(ctx, at));
                    self.settle(result, key, at)?;
                }
            }
        }
    }

    fn fire_processing_timers(&mut self) -> Result<(), JobError> {
        let now_ms = (self.now.0 / 1000) as i64;
        loop {
            let due = self.parts.processing_timers.borrow_mut().pop_due(now_ms);
            let Some((at, keys)) = due else { break };
            for key in keys {
                let (hash, time, now) = (hash_key(&key), self.lateness, self.now);
                let result = self.with_context(&key, hash, time, now, |l, ctx| l.on_processing_timer(ctx, at));
                self.settle(result, &key, time)?;
            }
        }
        if let Some(next) = self.parts.processing_timers.borrow().next_time() {
            let wait = u64::try_from(next.saturating_sub(now_ms)).unwrap_or(0);
            self.activator.activate_after(Duration::from_millis(wait));
        }
        Ok(())
    }

    /// Counts the records that wait here for the watermark, so that sources that are ahead wait for it too.
    fn tell_held(&mut self) {
        let held = self.parts.held.as_ref().map_or(0, |held| held.borrow().len() as i64);
        self.context.process.held.fetch_add(held - self.told_held, Ordering::Relaxed);
        self.told_held = held;
    }

    fn flush(&mut self, ports: &mut Ports<L::Out, L::Side>) {
        self.metrics.records_out.add(self.buffers.out.len() as u64);
        ports.main.send(&mut self.buffers.out);
        ports.side.send(&mut self.buffers.side);
        ports.dead.send(&mut self.buffers.dead);
    }

    /// Ends `epoch` for the operator's state. What it changed is written into the worker's delta a slice at a time,
    /// between records of the next epoch.
    fn begin_seal(&mut self, epoch: Epoch) -> Result<(), JobError> {
        self.seal_on(usize::MAX)?;
        let watermark = self.aligner.current().watermark;
        self.parts.states.begin_seal(epoch.0, watermark.0, self.context.process.clock.now_ms())?;
        self.sealing = Some((epoch, watermark));
        Ok(())
    }

    /// Goes on writing, about `entries` entries; the epoch is closed when everything is written.
    fn seal_on(&mut self, entries: usize) -> Result<(), JobError> {
        let Some((epoch, watermark)) = self.sealing else { return Ok(()) };
        let mut epochs = self.context.epochs.borrow_mut();
        if !self.parts.states.seal_on(entries, epochs.delta(epoch))? {
            self.activator.activate();
            return Ok(());
        }
        self.sealing = None;
        epochs.close(epoch, |contribution| {
            contribution.delta.set_blob(watermark_blob(&self.name), watermark.0.to_le_bytes().to_vec());
            Ok(())
        })
    }
}
