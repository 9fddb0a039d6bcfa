//! The ends of an operator: the moment of an incoming message, and an output together with its capability.

use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::{Capability, InputCapability};

use crate::record::Record;
use crate::time::Moment;

/// Returns the moment that a message was sent at. Every message is sent with one capability, so there always is one.
pub(crate) fn moment_of(capability: &InputCapability<Moment>) -> Option<Moment> {
    capability.stamp().elements().first().copied()
}

/// An output and its capability, which stands at the moment up to which the operator has done its work.
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
            // The next batch is likely as large: reserve it in one allocation, unless timely has returned a buffer.
            records.reserve(sent);
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
