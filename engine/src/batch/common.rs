//! The steps that all batches have in common, however they are run: they are gathered, prepared, and finished.

use std::sync::Arc;

use timely::scheduling::Activator;

use super::gather::{Gather, Gathered};
use super::logic::{BatchLogic, BatchOutput, BatchTimes};
use crate::error::JobError;
use crate::graph::Output;
use crate::metrics::{Counter, Distribution, Gauge, OperatorMetrics};
use crate::packet::Packet;
use crate::record::Record;
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
    output: BatchOutput<L::Out>,
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

    /// Makes and sends the results of a batch.
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
        self.output.records.reserve(size);
        self.logic.finish(batch.records.drain(..), &mut work, times, &mut self.output)?;
        self.metrics.records_out.add(self.output.records.len() as u64);
        for Record { data: letter, .. } in &self.output.dead_letters {
            self.metrics.count_dead_letter(&letter.reason);
            self.context.show_dead_letter(letter);
        }
        self.outputs.main.send(&batch.main, Packet::of(std::mem::take(&mut self.output.records)));
        self.outputs.dead.send(&batch.dead, Packet::of(std::mem::take(&mut self.output.dead_letters)));
        self.gather.reuse(batch.records);
        self.spare_work.push(work);
        Ok(())
    }
}
