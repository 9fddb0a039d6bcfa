//! An output together with its capability.

use timely::dataflow::operators::Capability;

use super::node::Output;
use crate::packet::Packet;
use crate::record::{Data, Record};
use crate::time::Moment;

/// An output and its capability, which stands at the moment up to which the operator has done its work.
pub(crate) struct Port {
    output: Output,
    capability: Option<Capability<Moment>>,
}

impl Port {
    pub(crate) fn new(output: Output, mut capability: Option<Capability<Moment>>, start: Moment) -> Self {
        if let Some(capability) = &mut capability {
            capability.downgrade(&start);
        }
        Self { output, capability }
    }

    /// Sends the records and leaves `records` empty.
    pub(crate) fn send<D: Data>(&mut self, records: &mut Vec<Record<D>>) {
        if !records.is_empty() {
            // The next batch is likely as large: reserve it in one allocation.
            let next = Vec::with_capacity(records.len());
            self.send_packet(Packet::of(std::mem::replace(records, next)));
        }
    }

    /// Sends the packet.
    pub(crate) fn send_packet(&mut self, packet: Packet) {
        if let Some(capability) = &self.capability {
            self.output.send(capability, packet);
        }
    }

    /// Downgrades the capability to `moment`, or drops it for `None`.
    pub(crate) fn lower(&mut self, moment: Option<Moment>) {
        match (moment, &mut self.capability) {
            (Some(moment), Some(capability)) => capability.downgrade(&moment),
            (None, capability) => *capability = None,
            (Some(_), None) => {}
        }
    }
}
