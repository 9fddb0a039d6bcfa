//! The steps that all batches have in common, however they are run: they are gathered, prepared, and finished.

use std::sync::Arc;

use timely::dataflow::operators::Capability;
use timely::scheduling::Activator;

use super::gather::{Gather, Gathered};
use super::logic::{BatchLogic, BatchOutput, BatchTimes};
use crate::error::JobError;
use crate::graph::Output;
use crate::metrics::{Counter, Distribution, Gauge, OperatorMetrics};
use crate::packet::Packet;
use crate::record::Record;
use crate::time::Moment;
use crate::worker::Shared;

/// The two outputs of the operator.
pub(super) struct Outputs {
    pub(super) main: Output,
    pub(super) dead: Output,
}

pub(super) struct Common<L: BatchLogic> {
    pub(super) logic: L,
    pub(super) gather: Gather<L::In>,
    /// Buffers of finished work, to be reused by the next batches.
    spare_work: Vec<L::Work>,
    /// The results that are sent together: those of a turn's batches, as long as they are of one moment. The operators
    /// behind this one run after the turn, and a packet costs each of them some time, however few records it has.
    output: BatchOutput<L::Out>,
    /// The capabilities to send them with.
    at: Option<(Capability<Moment>, Capability<Moment>)>,
    outputs: Outputs,
    batches: Counter,
    sizes: Distribution,
    /// From a batch's first record until it is run.
    queue: Distribution,
    /// The records that wait here, or are run.
    waiting: Gauge,
    pub(super) metrics: Arc<OperatorMetrics>,
    pub(super) activator: Activator,
    pub(super) context: Shared,
}

impl<L: BatchLogic> Common<L> {
    pub(super) fn new(
        logic: L,
        outputs: Outputs,
        metrics: Arc<OperatorMetrics>,
        activator: Activator,
        context: Shared,
    ) -> Self {
        Self {
            logic,
            gather: Gather::new(),
            spare_work: Vec::new(),
            output: BatchOutput { records: Vec::new(), dead_letters: Vec::new() },
            at: None,
            outputs,
            batches: metrics.counter("batches"),
            sizes: metrics.distribution("batch_size_records"),
            queue: metrics.distribution("queue_us"),
            waiting: metrics.gauge("queue_records"),
            metrics,
            activator,
            context,
        }
    }

    /// Returns the logic's maximum batch size; if that is 0, then 1, as 0 would be an endless loop.
    pub(super) fn max_batch_size(&self) -> usize {
        self.logic.max_batch_size().max(1)
    }

    /// Unpacks the records of a packet, which wait here from now on.
    pub(super) fn open(&self, packet: Packet) -> Result<Vec<Record<L::In>>, JobError> {
        self.waiting.add(packet.len() as i64);
        packet.open(&self.metrics.name)
    }

    pub(super) fn is_due(&self, batch: &Gathered<L::In>) -> bool {
        self.gather.is_due(batch, self.logic.max_delay(), self.logic.max_watermark_delay())
    }

    /// Prepares the work of a batch.
    pub(super) fn prepare(&mut self, batch: &Gathered<L::In>) -> L::Work {
        let mut work = self.spare_work.pop().unwrap_or_default();
        self.logic.prepare(batch.epoch(), &batch.records, &mut work);
        work
    }

    /// Makes the results of a batch, which are sent with [`send`](Self::send).
    pub(super) fn finish(
        &mut self,
        mut batch: Gathered<L::In>,
        mut work: L::Work,
        times: BatchTimes,
    ) -> Result<(), JobError> {
        let size = batch.records.len();
        self.batches.add(1);
        self.sizes.record(size as u64);
        self.waiting.add(-(size as i64));
        let queued = times.gathered + times.queued;
        self.queue.record(u64::try_from(queued.as_micros()).unwrap_or(u64::MAX));
        self.metrics.ran_batch(times.ran, times.queued, size);
        if self.at.as_ref().is_some_and(|(main, _)| main.time() != batch.main.time()) {
            self.send();
        }
        let BatchOutput { records, dead_letters } = &self.output;
        let (records_before, letters_before) = (records.len(), dead_letters.len());
        self.output.records.reserve(size);
        self.logic.finish(batch.records.drain(..), &mut work, times, &mut self.output)?;
        self.metrics.records_out.add((self.output.records.len() - records_before) as u64);
        for Record { data: letter, .. } in self.output.dead_letters.iter().skip(letters_before) {
            self.metrics.count_dead_letter(&letter.reason);
            self.context.show_dead_letter(letter);
        }
        self.at.get_or_insert((batch.main, batch.dead));
        self.gather.reuse(batch.records);
        self.spare_work.push(work);
        Ok(())
    }

    /// Sends the results of finished batches. A turn ends with it.
    pub(super) fn send(&mut self) {
        let Some((main, dead)) = self.at.take() else { return };
        let BatchOutput { records, dead_letters } = &mut self.output;
        let next = Vec::with_capacity(records.len());
        self.outputs.main.send(&main, Packet::of(std::mem::replace(records, next)));
        self.outputs.dead.send(&dead, Packet::of(std::mem::take(dead_letters)));
    }
}
