//! The shell as a timely operator. See the picture in the parent module.
//!
//! Each output has one capability, which stands at the moment up to which the work is done: it is downgraded only
//! after the records and timers up to there have been handled, so a downstream watermark never runs ahead of
//! results.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_state::Key;
use timely::dataflow::operators::Capability;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::core::{Core, KeyOf, Parts};
use super::exchange::by_key;
use super::logic::{KeyedLogic, Order};
use super::machine::{Machine, Ports};
use super::reached::Reached;
use super::states::States;
use crate::checkpoint::blobs::Blob;
use crate::epoch::{Aligner, Step};
use crate::error::JobError;
use crate::graph::{Flow, KeyedStream, Packets, Port, Split, Stream};
use crate::metrics::{Distribution, Gauge, OperatorMetrics};
use crate::packet::Packet;
use crate::record::Data;
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::Shared;

/// Number of state entries that are written in one turn after an epoch has ended: records wait no longer than that
/// takes.
const SEAL_SLICE: usize = 128;

/// The outputs of a keyed operator.
pub struct KeyedOutput<'s, O: Data, S: Data> {
    /// The results that the logic emits.
    pub results: Stream<'s, O>,
    /// The side output of the logic.
    pub side: Stream<'s, S>,
}

impl<'s, K: Key, D: Data> KeyedStream<'s, K, D> {
    /// Runs logic with state and timers over each key. `name` is unique in the job and names the
    /// operator's states in checkpoints.
    ///
    /// # Errors
    /// When the name is taken or the operator's state cannot be opened.
    pub fn process<L: KeyedLogic<Key = K, In = D>>(
        self,
        name: &str,
        order: Order,
        logic: impl FnOnce(&mut States<'_, K>) -> Result<L, JobError>,
    ) -> Result<KeyedOutput<'s, L::Out, L::Side>, JobError> {
        keyed(self.stream, self.key_of, name, order, logic)
    }
}

impl Flow<'_> {
    /// Returns the watermark of a keyed operator in the restored checkpoint, at its slowest worker; `None` when the
    /// checkpoint does not know the operator, or when nothing was restored.
    #[must_use]
    pub fn restored_watermark(&self, operator: &str) -> Option<EventTime> {
        self.context().restored.operator_watermarks(operator).iter().min().copied()
    }
}

/// Builds the operator on this worker. What depends on the types of the program is in [`Core`] and in [`by_key`].
fn keyed<'s, L: KeyedLogic>(
    stream: Stream<'s, L::In>,
    key_of: KeyOf<L>,
    name: &str,
    order: Order,
    logic: impl FnOnce(&mut States<'_, L::Key>) -> Result<L, JobError>,
) -> Result<KeyedOutput<'s, L::Out, L::Side>, JobError> {
    let Stream { flow, packets, .. } = stream;
    let context = flow.claim_name(name)?;
    let parts = Parts::open(&mut context.worker_state.borrow_mut(), name, order, &key_of, logic)?;
    let metrics = context.process.metrics.operator(name, "keyed", context.worker);
    let queue = metrics.gauge("queue_records");
    let split = by_key(name, &key_of, &context, queue.clone());
    // The watermark of the slowest worker of the previous run. Workers that were further ahead keep that in `reached`.
    let watermark = flow.restored_watermark(name).unwrap_or(EventTime::MIN);
    let key_groups = context.worker_state.borrow().key_groups();
    let reached = Reached::restored(&context.restored, name, key_groups, (context.worker, context.workers));
    let now = context.process.clock.now();
    let core = Core::new(name, key_of, parts, (watermark, reached), now, Arc::clone(&metrics));
    let [results, side] = build(&flow, packets, split, name, (watermark, Box::new(core)), (metrics, queue));
    Ok(KeyedOutput { results: flow.stream(results), side: flow.stream(side) })
}

/// Builds the operator in timely. Returns its results and its side output.
fn build<'s>(
    flow: &Flow<'s>,
    packets: Packets<'s>,
    split: Split,
    name: &str,
    (watermark, core): (EventTime, Box<dyn Machine>),
    (metrics, queue): (Arc<OperatorMetrics>, Gauge),
) -> [Packets<'s>; 2] {
    let context = Rc::clone(flow.context());
    context.epochs.borrow_mut().join();
    let mut node = flow.node(name);
    let mut input = node.exchanged_input(packets, split, FrontierInterest::Always);
    let (main, main_stream) = node.output();
    let (side, side_stream) = node.output();
    let (dead, dead_stream) = node.output();
    let activator = node.activator();
    activator.activate();
    node.build(Box::new(move |mut capabilities| {
        let start = Moment::new(context.first_epoch, watermark);
        // Results for restored keys may have any event time; after them the ports are lowered to `start`.
        let first = Moment::new(context.first_epoch, EventTime::MIN);
        let [main_cap, side_cap, dead_cap] = three(&mut capabilities);
        let mut ports = Ports {
            main: Port::new(main, main_cap, first),
            side: Port::new(side, side_cap, first),
            dead: Port::new(dead, dead_cap, first),
            context: Rc::clone(&context),
        };
        let mut shell = Shell {
            name: name.to_owned(),
            core,
            times: metrics.distribution("turn_us"),
            metrics,
            queue,
            aligner: Aligner::new(start.epoch, start.watermark),
            reported_pending: 0,
            sealing: None,
            activator,
            context,
        };
        let mut begun = false;
        Box::new(move |meet| {
            if shell.context.failed() {
                return false;
            }
            let mut turn = shell.metrics.turn();
            shell.core.begin(shell.context.process.clock.now());
            let mut result = if std::mem::replace(&mut begun, true) { Ok(()) } else { shell.bring_back(&mut ports) };
            input.for_each(&mut |_, moment, packet| {
                if shell.context.workers == 1 {
                    // Nothing was exchanged, and so nothing was charged.
                    shell.context.process.budget.charge(packet.len());
                    shell.queue.add(packet.len() as i64);
                } else if !shell.context.is_of_this_process(packet.from as usize) {
                    shell.queue.add(packet.len() as i64);
                }
                if let Some(packet) = shell.aligner.admit(moment, packet)
                    && result.is_ok()
                {
                    result = shell.apply(packet);
                }
            });
            let result = result.and_then(|()| shell.advance(meet, &mut ports));
            shell.context.guard(result);
            if shell.core.has_worked() {
                turn.record(&shell.times);
            }
            false
        })
    }));
    flow.add_dead_letters(dead_stream);
    [main_stream, side_stream]
}

fn three(capabilities: &mut Vec<Capability<Moment>>) -> [Option<Capability<Moment>>; 3] {
    let mut drain = capabilities.drain(..);
    [drain.next(), drain.next(), drain.next()]
}

struct Shell {
    name: String,
    core: Box<dyn Machine>,
    metrics: Arc<OperatorMetrics>,
    /// How long the turns take in which records were handled.
    times: Distribution,
    /// The records that wait here, or on their way from workers of this process.
    queue: Gauge,
    aligner: Aligner,
    reported_pending: i64,
    /// The epoch whose changes are not completely written yet, and the watermark with which it ended.
    sealing: Option<(Epoch, EventTime)>,
    activator: Activator,
    context: Shared,
}

impl Shell {
    /// Runs the logic's `on_restored` for its restored keys, before anything else.
    fn bring_back(&mut self, ports: &mut Ports) -> Result<(), JobError> {
        self.core.bring_back(ports)?;
        ports.lower(Some(self.aligner.current()));
        Ok(())
    }

    /// Applies a batch of the current epoch, or keeps its records pending until the watermark has passed them.
    fn apply(&mut self, packet: Packet) -> Result<(), JobError> {
        let (from, count) = (packet.from as usize, packet.len());
        self.core.take(packet)?;
        self.context.consumed(from, count);
        self.queue.add(-(count as i64));
        Ok(())
    }

    /// Follows the frontier as far as it has advanced: through watermarks, closed epochs and the end of the job.
    fn advance(&mut self, meet: Option<Moment>, ports: &mut Ports) -> Result<(), JobError> {
        loop {
            let finish = self.context.epochs.borrow().finish();
            match self.aligner.step(meet, finish) {
                Step::Watermark(watermark) => {
                    self.core.pass(watermark)?;
                    self.core.send(ports);
                    self.metrics.watermark.set(watermark.0);
                    ports.lower(Some(self.aligner.current()));
                }
                Step::Close(epoch) => {
                    // Late records may have set timers that the watermark has already passed: those belong to this
                    // epoch.
                    self.core.fire_late_timers()?;
                    self.core.send(ports);
                    self.begin_seal(epoch)?;
                    let stashed = self.aligner.begin_next();
                    ports.lower(Some(self.aligner.current()));
                    for packet in stashed {
                        self.apply(packet)?;
                    }
                }
                Step::Wait => break,
                Step::Finished => {
                    self.seal_on(usize::MAX)?;
                    self.report_pending();
                    ports.lower(None);
                    return Ok(());
                }
            }
        }
        self.seal_on(SEAL_SLICE)?;
        // Late records may have set timers that the watermark has already passed.
        self.core.fire_late_timers()?;
        self.fire_processing_timers()?;
        self.core.send(ports);
        self.report_pending();
        Ok(())
    }

    fn fire_processing_timers(&mut self) -> Result<(), JobError> {
        if let Some(next) = self.core.fire_processing_timers()? {
            let now_ms = self.context.process.clock.processing_time().0;
            let wait = u64::try_from(next.saturating_sub(now_ms)).unwrap_or(0);
            self.context.wake_after(&self.activator, Duration::from_millis(wait));
        }
        Ok(())
    }

    /// Adds the records that wait here for the watermark to the process-wide count, so that sources that are ahead
    /// pause.
    fn report_pending(&mut self) {
        let pending = self.core.pending() as i64;
        self.context.process.pending.fetch_add(pending - self.reported_pending, Ordering::Relaxed);
        self.queue.add(pending - self.reported_pending);
        self.reported_pending = pending;
    }

    /// Ends `epoch` for the operator's state. Its changes are written into the worker's delta in slices, between
    /// records of the next epoch.
    fn begin_seal(&mut self, epoch: Epoch) -> Result<(), JobError> {
        self.seal_on(usize::MAX)?;
        let watermark = self.aligner.current().watermark;
        self.core.states().begin_seal(epoch.0, watermark.0, self.context.process.clock.processing_time().0)?;
        self.sealing = Some((epoch, watermark));
        Ok(())
    }

    /// Writes about `entries` more entries; closes the epoch once all of its changes are written.
    fn seal_on(&mut self, entries: usize) -> Result<(), JobError> {
        let Some((epoch, watermark)) = self.sealing else { return Ok(()) };
        let mut epochs = self.context.epochs.borrow_mut();
        if !self.core.states().seal_on(entries, epochs.delta(epoch))? {
            self.activator.activate();
            return Ok(());
        }
        self.sealing = None;
        epochs.close(epoch, |contribution| {
            Blob::OperatorWatermark(watermark).put(&self.name, &mut contribution.delta);
            if let Some(ahead) = self.core.reached().ahead_of(watermark) {
                Blob::Reached(ahead.clone()).put(&self.name, &mut contribution.delta);
            }
            Ok(())
        })
    }
}
