//! A batch operator without its types: what its node in timely asks of it.

use timely::dataflow::operators::InputCapability;

use crate::error::JobError;
use crate::packet::Packet;
use crate::time::Moment;

/// A batch operator, however it runs its batches.
pub(super) trait Machine {
    /// Begins a turn, with the meet of the input's frontier. Sends the results that threads have finished.
    fn begin(&mut self, meet: Option<Moment>) -> Result<(), JobError>;
    /// Gathers the records of a packet.
    fn take(&mut self, capability: &InputCapability<Moment>, moment: Moment, packet: Packet) -> Result<(), JobError>;
    /// Ends a turn: runs the batches that are due. `idle` means that the turn brought no input.
    fn work_off(&mut self, idle: bool) -> Result<(), JobError>;
    /// Returns whether all threads beside the worker are at work, so that the next batch has to wait for one.
    fn is_saturated(&self) -> bool {
        false
    }
}

/// An operator whose threads could not be started. The builder of a node must not be abandoned, so the error stops the
/// job in the first turn instead.
pub(super) struct Failed(pub(super) Option<JobError>);

impl Machine for Failed {
    fn begin(&mut self, _: Option<Moment>) -> Result<(), JobError> {
        self.0.take().map_or(Ok(()), Err)
    }

    fn take(&mut self, _: &InputCapability<Moment>, _: Moment, _: Packet) -> Result<(), JobError> {
        Ok(())
    }

    fn work_off(&mut self, _: bool) -> Result<(), JobError> {
        Ok(())
    }
}
