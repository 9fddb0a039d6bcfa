//! A keyed operator without its types: what the shell asks of its core, a batch or a step of the watermark at a time.

use tidemill_state::OperatorStates;

use super::core::{Buffers, Core};
use super::logic::KeyedLogic;
use super::reached::Reached;
use crate::error::JobError;
use crate::graph::Port;
use crate::packet::Packet;
use crate::record::{Arrival, DeadLetter, Record};
use crate::time::{EventTime, Moment};
use crate::worker::Shared;

/// Number of restored keys that the logic handles before their results are sent downstream.
const RESTORE_SLICE: usize = 1024;

/// The core of a keyed operator. [`Core`] says what each method does.
pub(super) trait Machine {
    /// Begins a turn at this time.
    fn begin(&mut self, now: Arrival);
    fn bring_back(&mut self, ports: &mut Ports) -> Result<(), JobError>;
    /// Applies the records of a packet, or keeps them pending until the watermark has passed them.
    fn take(&mut self, packet: Packet) -> Result<(), JobError>;
    fn pass(&mut self, watermark: EventTime) -> Result<(), JobError>;
    /// Fires the timers that late records have set behind the watermark.
    fn fire_late_timers(&mut self) -> Result<(), JobError>;
    fn fire_processing_timers(&mut self) -> Result<Option<i64>, JobError>;
    /// Returns whether the logic has handled a record in this turn.
    fn has_worked(&self) -> bool;
    fn pending(&self) -> usize;
    fn states(&mut self) -> &mut OperatorStates;
    fn reached(&mut self) -> &mut Reached;
    /// Sends what was emitted.
    fn send(&mut self, ports: &mut Ports);
}

impl<L: KeyedLogic> Machine for Core<L> {
    fn begin(&mut self, now: Arrival) {
        self.now = now;
        self.has_worked = false;
    }

    fn bring_back(&mut self, ports: &mut Ports) -> Result<(), JobError> {
        for keys in self.restored_keys()?.chunks(RESTORE_SLICE) {
            self.bring_back(keys)?;
            self.send(ports);
        }
        Ok(())
    }

    fn take(&mut self, packet: Packet) -> Result<(), JobError> {
        let records = packet.open(self.name())?;
        self.take(records)
    }

    fn pass(&mut self, watermark: EventTime) -> Result<(), JobError> {
        self.pass(watermark)
    }

    fn fire_late_timers(&mut self) -> Result<(), JobError> {
        self.fire_timers(self.lateness)
    }

    fn fire_processing_timers(&mut self) -> Result<Option<i64>, JobError> {
        self.fire_processing_timers()
    }

    fn has_worked(&self) -> bool {
        self.has_worked
    }

    fn pending(&self) -> usize {
        self.pending()
    }

    fn states(&mut self) -> &mut OperatorStates {
        self.states()
    }

    fn reached(&mut self) -> &mut Reached {
        &mut self.reached
    }

    fn send(&mut self, ports: &mut Ports) {
        let Buffers { out, side, dead } = &mut self.buffers;
        self.metrics.records_out.add(out.len() as u64);
        ports.main.send(out);
        ports.side.send(side);
        ports.send_dead(dead);
    }
}

/// The outputs of a keyed operator.
pub(super) struct Ports {
    pub(super) main: Port,
    pub(super) side: Port,
    pub(super) dead: Port,
    pub(super) context: Shared,
}

impl Ports {
    fn send_dead(&mut self, letters: &mut Vec<Record<DeadLetter>>) {
        letters.iter().for_each(|letter| self.context.show_dead_letter(&letter.data));
        self.dead.send(letters);
    }

    pub(super) fn lower(&mut self, moment: Option<Moment>) {
        self.main.lower(moment);
        self.side.lower(moment);
        self.dead.lower(moment);
    }
}
