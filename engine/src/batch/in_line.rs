//! Batches that are run on the worker, as soon as they are full or due; its other operators wait meanwhile.

use std::time::Duration;

use timely::dataflow::operators::InputCapability;

use super::common::Common;
use super::logic::{BatchLogic, BatchRunner, BatchTimes};
use super::machine::Machine;
use crate::error::JobError;
use crate::packet::Packet;
use crate::threads;
use crate::time::Moment;

pub(super) struct InLine<L: BatchLogic> {
    pub(super) common: Common<L>,
    runner: Box<dyn BatchRunner<L::Work>>,
}

impl<L: BatchLogic> InLine<L> {
    pub(super) fn new(common: Common<L>, runner: Box<dyn BatchRunner<L::Work>>) -> Self {
        Self { common, runner }
    }

    /// Runs all gathered batches.
    fn run(&mut self) -> Result<(), JobError> {
        while let Some(batch) = self.common.gather.take_first() {
            let mut work = self.common.prepare(&batch);
            let closed = threads::now();
            self.runner.run(&mut work);
            let times = BatchTimes {
                gathered: closed - batch.since,
                queued: Duration::ZERO,
                ran: threads::since(closed),
                total: threads::since(batch.since),
            };
            self.common.finish(batch, work, times)?;
        }
        Ok(())
    }
}

impl<L: BatchLogic> Machine for InLine<L> {
    fn begin(&mut self, meet: Option<Moment>) -> Result<(), JobError> {
        self.common.gather.saw(meet);
        Ok(())
    }

    /// Gathers a packet's records, and runs the batches that are full.
    fn take(&mut self, capability: &InputCapability<Moment>, moment: Moment, packet: Packet) -> Result<(), JobError> {
        let mut records = self.common.open(packet)?;
        let max_batch_size = self.common.max_batch_size();
        let mut records = records.drain(..);
        while !records.as_slice().is_empty() {
            if !self.common.gather.is_open_to(moment, max_batch_size) {
                self.run()?;
            }
            if self.common.gather.add(capability, moment, &mut records, max_batch_size) {
                self.run()?;
            }
        }
        Ok(())
    }

    /// Runs the open batch if it is due, or if the worker is idle.
    fn work_off(&mut self, idle: bool) -> Result<(), JobError> {
        if let Some(open) = self.common.gather.first() {
            if idle || self.common.is_due(open) {
                self.run()?;
            } else {
                // One more turn: if it brings no input, the worker is idle.
                self.common.activator.activate();
            }
        }
        self.common.send();
        Ok(())
    }
}
