//! The shell as a timely operator. See the picture in the parent module.
//!
//! Each output has one capability, which stands at the moment up to which the work is done: it is downgraded only
//! after the records and timers up to there have been handled, so a downstream watermark never runs ahead of
//! results.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_state::Key;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::core::{Buffers, Core, KeyOf, Parts};
use super::exchange::{Routed, route};
use super::logic::{KeyedLogic, Order};
use super::reached::Reached;
use super::states::States;
use crate::checkpoint::blobs::Blob;
use crate::epoch::{Aligner, Step};
use crate::error::JobError;
use crate::graph::{Flow, KeyedStream, Port, Stream, moment_of};
use crate::record::{Data, DeadLetter};
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::Shared;

/// Number of restored keys that the logic handles before their results are sent downstream.
const RESTORE_SLICE: usize = 1024;
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

/// Builds the operator on this worker.
fn keyed<'s, L: KeyedLogic>(
    stream: Stream<'s, L::In>,
    key_of: KeyOf<L>,
    name: &str,
    order: Order,
    logic: impl FnOnce(&mut States<'_, L::Key>) -> Result<L, JobError>,
) -> Result<KeyedOutput<'s, L::Out, L::Side>, JobError> {
    let flow = stream.flow.clone();
    let context = flow.claim_name(name)?;
    let parts = Parts::open(&mut context.worker_state.borrow_mut(), name, order, &key_of, logic)?;
    let metrics = context.process.metrics.operator(name, "keyed", context.worker);
    context.epochs.borrow_mut().join();
    let routed = route(stream, &key_of, Arc::clone(&metrics));

    let mut builder = OperatorBuilder::new(name.to_owned(), flow.scope());
    let mut input = builder.new_input(routed, Exchange::new(|batch: &Routed<L::In>| u64::from(batch.target)));
    builder.set_notify_for(0, FrontierInterest::Always);
    let (main, main_stream) = builder.new_output();
    let (side, side_stream) = builder.new_output();
    let (dead, dead_stream) = builder.new_output();
    let activator = flow.scope().activator_for(builder.operator_info().address);

    activator.activate();

    builder.build(move |mut capabilities| {
        // The watermark of the slowest worker of the previous run. Workers that were further ahead keep that in
        // `reached`.
        let restored = context.restored.operator_watermarks(name).iter().min().copied().unwrap_or(EventTime::MIN);
        let start = Moment::new(context.first_epoch, restored);
        // Results for restored keys may have any event time; after them the ports are lowered to `start`.
        let first = Moment::new(context.first_epoch, EventTime::MIN);
        let [main_cap, side_cap, dead_cap] = three(&mut capabilities);
        let mut ports = Ports {
            main: Port::new(main, main_cap, first),
            side: Port::new(side, side_cap, first),
            dead: Port::new(dead, dead_cap, first),
        };
        let mut begun = false;
        let key_groups = context.worker_state.borrow().key_groups();
        let reached = Reached::restored(&context.restored, name, key_groups, (context.worker, context.workers));
        let mut shell = Shell {
            name: name.to_owned(),
            core: Core::new(name, key_of, parts, (start.watermark, reached), context.process.clock.now(), metrics),
            aligner: Aligner::new(start.epoch, start.watermark),
            reported_pending: 0,
            sealing: None,
            activator,
            context,
        };
        move |frontiers| {
            if shell.context.failed() {
                return;
            }
            let _busy = shell.core.metrics.busy();
            shell.core.now = shell.context.process.clock.now();
            let mut result = if std::mem::replace(&mut begun, true) { Ok(()) } else { shell.bring_back(&mut ports) };
            input.for_each(|capability, batches| {
                let Some(moment) = moment_of(&capability) else { return };
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
    Ok(KeyedOutput { results: main, side })
}

fn three(capabilities: &mut Vec<Capability<Moment>>) -> [Option<Capability<Moment>>; 3] {
    let mut drain = capabilities.drain(..);
    [drain.next(), drain.next(), drain.next()]
}

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

struct Shell<L: KeyedLogic> {
    name: String,
    core: Core<L>,
    aligner: Aligner<Routed<L::In>>,
    reported_pending: i64,
    /// The epoch whose changes are not completely written yet, and the watermark with which it ended.
    sealing: Option<(Epoch, EventTime)>,
    activator: Activator,
    context: Shared,
}

impl<L: KeyedLogic> Shell<L> {
    /// Runs the logic's `on_restored` for its restored keys, before anything else.
    fn bring_back(&mut self, ports: &mut Ports<L::Out, L::Side>) -> Result<(), JobError> {
        for keys in self.core.restored_keys()?.chunks(RESTORE_SLICE) {
            self.core.bring_back(keys)?;
            self.flush(ports);
        }
        ports.lower(Some(self.aligner.current()));
        Ok(())
    }

    /// Applies a batch of the current epoch, or keeps its records pending until the watermark has passed them.
    fn apply_batch(&mut self, batch: Routed<L::In>) -> Result<(), JobError> {
        let (from, count) = (batch.from as usize, batch.records.len());
        self.core.take(batch.records)?;
        self.context.consumed(from, count);
        Ok(())
    }

    /// Follows the frontier as far as it has advanced: through watermarks, closed epochs and the end of the job.
    fn advance(&mut self, meet: Option<Moment>, ports: &mut Ports<L::Out, L::Side>) -> Result<(), JobError> {
        loop {
            let finish = self.context.epochs.borrow().finish();
            match self.aligner.step(meet, finish) {
                Step::Watermark(watermark) => {
                    self.core.pass(watermark)?;
                    self.flush(ports);
                    self.core.metrics.watermark.set(watermark.0);
                    ports.lower(Some(self.aligner.current()));
                }
                Step::Close(epoch) => {
                    // Late records may have set timers that the watermark has already passed: those belong to this
                    // epoch.
                    self.core.fire_timers(self.core.lateness)?;
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
        // Late records may have set timers that the watermark has already passed.
        self.core.fire_timers(self.core.lateness)?;
        self.fire_processing_timers()?;
        self.flush(ports);
        self.report_pending();
        Ok(())
    }

    fn fire_processing_timers(&mut self) -> Result<(), JobError> {
        if let Some(next) = self.core.fire_processing_timers()? {
            let now_ms = (self.core.now.0 / 1000) as i64;
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
        self.reported_pending = pending;
    }

    fn flush(&mut self, ports: &mut Ports<L::Out, L::Side>) {
        let Buffers { out, side, dead } = &mut self.core.buffers;
        self.core.metrics.records_out.add(out.len() as u64);
        dead.iter().for_each(|letter| self.context.log_dead_letter(&letter.data));
        ports.main.send(out);
        ports.side.send(side);
        ports.dead.send(dead);
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
            if let Some(ahead) = self.core.reached.ahead_of(watermark) {
                Blob::Reached(ahead.clone()).put(&self.name, &mut contribution.delta);
            }
            Ok(())
        })
    }
}
