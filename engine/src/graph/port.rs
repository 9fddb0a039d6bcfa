//! What operators have at their ends: the moment of what comes in, and an output with the capability that goes with it.

use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::{Capability, InputCapability};

use crate::record::Record;
use crate::time::Moment;

/// The moment that a message was sent at. Whatever is sent here is sent with one capability, so there always is one.
pub(crate) fn moment_of(capability: &InputCapability<Moment>) -> Option<Moment> {
    capability.stamp().elements().first().copied()
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
