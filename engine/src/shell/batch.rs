//! The shell of operators that work in batches across keys: inference, bulk lookups.
//!
//! ```text
//! records of one epoch ──▶ pending batch ──▶ BatchLogic::run ──▶ results, dead letters
//!                            closes when full, when its oldest record is max_delay old,
//!                            or when the worker has had a turn without new input (idle)
//! ```
//! Work-conserving: waiting is only ever for what would have waited anyway. The batch keeps the
//! capability it came with, so neither the epoch nor the watermark passes before its results are out.

use std::error::Error;
use std::time::{Duration, Instant};
use std::vec::Drain;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use crate::context::Shared;
use crate::error::JobError;
use crate::metrics::OperatorMetrics;
use crate::record::{Data, DeadLetter, Record};
use crate::stream::Stream;
use crate::time::Moment;

/// What an operator does with a batch of records of any keys.
///
/// # Contract (the shell relies on it)
/// * It keeps nothing between batches that a result depends on: a restore brings nothing back.
/// * Each record of the batch comes out exactly once, as a result or as a dead letter.
pub trait BatchLogic: 'static {
    /// What comes in.
    type In: Data;
    /// What goes out.
    type Out: Data;

    /// The most records one [`run`](Self::run) is given.
    fn max_batch_size(&self) -> usize;

    /// How long a record may wait for its batch to fill while the worker is busy with other input.
    fn max_delay(&self) -> Duration;

    /// Handles `batch`: between one record and [`max_batch_size`](Self::max_batch_size) of them.
    ///
    /// # Errors
    /// What cannot be helped record by record stops the job.
    fn run(
        &mut self,
        batch: Drain<'_, Record<Self::In>>,
        output: &mut BatchOutput<Self::Out>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Where a batch's records go.
#[derive(Debug)]
pub struct BatchOutput<O> {
    /// Results.
    pub records: Vec<Record<O>>,
    /// What could not be handled.
    pub dead_letters: Vec<Record<DeadLetter>>,
}

/// Builds the operator on this worker.
pub(crate) fn batch<'s, L: BatchLogic>(
    stream: Stream<'s, L::In>,
    name: &str,
    logic: impl FnOnce(&OperatorMetrics) -> Result<L, JobError>,
) -> Result<Stream<'s, L::Out>, JobError> {
    let Stream { flow, inner } = stream;
    let context = flow.claim_name(name)?;
    let metrics = flow.metrics(name, "batch");
    let logic = logic(&metrics)?;

    let mut builder = OperatorBuilder::new(name.to_owned(), flow.scope());
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (main, main_stream) = builder.new_output();
    let (dead, dead_stream) = builder.new_output();
    let activator = flow.scope().activator_for(builder.operator_info().address);

    builder.build(move |_| {
        let mut shell = BatchShell {
            name: name.to_owned(),
            pending: None,
            output: BatchOutput { records: Vec::new(), dead_letters: Vec::new() },
            spare: Vec::new(),
            batches: metrics.counter("batches"),
            sizes: metrics.distribution("batch_size_records"),
            main,
            dead,
            logic,
            metrics,
            activator,
            context,
        };
        move |_| {
            if shell.context.failed() {
                return;
            }
            let mut result = Ok(());
            let mut idle = true;
            input.for_each(|capability, records| {
                idle = false;
                if result.is_ok() {
                    result = shell.take(&capability, records);
                }
            });
            let result = result.and_then(|()| shell.close_if_due(idle));
            shell.context.guard(result);
        }
    });
    flow.add_dead_letters(dead_stream);
    Ok(flow.stream(main_stream))
}

/// Records of one epoch that wait for their batch, and the capabilities to send what becomes of them.
struct Pending<I> {
    main: Capability<Moment>,
    dead: Capability<Moment>,
    since: Instant,
    records: Vec<Record<I>>,
}

struct BatchShell<L: BatchLogic> {
    name: String,
    pending: Option<Pending<L::In>>,
    output: BatchOutput<L::Out>,
    /// The allocation of the last batch, for the next one.
    spare: Vec<Record<L::In>>,
    batches: crate::metrics::Counter,
    sizes: crate::metrics::Distribution,
    main: Output<Moment, Vec<Record<L::Out>>>,
    dead: Output<Moment, Vec<Record<DeadLetter>>>,
    logic: L,
    metrics: std::sync::Arc<OperatorMetrics>,
    activator: Activator,
    context: Shared,
}

impl<L: BatchLogic> BatchShell<L> {
    /// Adds a message's records to the pending batch and runs the batches that are full.
    fn take(&mut self, capability: &InputCapability<Moment>, records: &mut Vec<Record<L::In>>) -> Result<(), JobError> {
        let Some(&moment) = capability.stamp().elements().first() else { return Ok(()) };
        self.metrics.records_in.add(records.len() as u64);
        // Results belong to the epoch of their records, so a batch never spans two.
        if self.pending.as_ref().is_some_and(|p| p.main.time().epoch != moment.epoch) {
            self.run()?;
        }
        // A logic that says 0 gets one at a time, not an endless loop.
        let max_batch_size = self.logic.max_batch_size().max(1);
        let mut records = records.drain(..);
        while !records.as_slice().is_empty() {
            let pending = self.pending.get_or_insert_with(|| Pending {
                main: capability.delayed(&moment, 0),
                dead: capability.delayed(&moment, 1),
                since: Instant::now(),
                records: std::mem::take(&mut self.spare),
            });
            // The least watermark of the batch's messages: results are not late because of the batch.
            if moment.watermark < pending.main.time().watermark {
                pending.main = capability.delayed(&moment, 0);
                pending.dead = capability.delayed(&moment, 1);
            }
            let room = max_batch_size.saturating_sub(pending.records.len());
            pending.records.extend(records.by_ref().take(room));
            if pending.records.len() >= max_batch_size {
                self.run()?;
            }
        }
        Ok(())
    }

    /// Runs what is left when nothing more is coming at the moment, or when it has waited too long.
    fn close_if_due(&mut self, idle: bool) -> Result<(), JobError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        if idle || pending.since.elapsed() >= self.logic.max_delay() {
            return self.run();
        }
        // One more turn: if it brings no input, the worker has nothing better to do.
        self.activator.activate();
        Ok(())
    }

    /// Runs the pending batch.
    fn run(&mut self) -> Result<(), JobError> {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        let size = pending.records.len();
        self.batches.add(1);
        self.sizes.record(size as u64);
        self.output.records.reserve(size);
        self.logic
            .run(pending.records.drain(..), &mut self.output)
            .map_err(|source| JobError::Operator { operator: self.name.clone(), source })?;
        self.metrics.records_out.add(self.output.records.len() as u64);
        self.metrics.dead_letters.add(self.output.dead_letters.len() as u64);
        self.output.dead_letters.iter().for_each(|letter| self.context.log_dead_letter(&letter.data));
        self.main.activate().give(&pending.main, &mut self.output.records);
        self.dead.activate().give(&pending.dead, &mut self.output.dead_letters);
        self.output.records.clear();
        self.output.dead_letters.clear();
        self.spare = pending.records;
        Ok(())
    }
}
