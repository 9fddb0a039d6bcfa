//! Simulated calls to the outside of a job: a model, a service.

use std::sync::Arc;

use super::schedule::Schedule;
use crate::threads;

/// A simulated service outside the job, whose calls take time, sometimes too much, and may fail. Cheap to clone.
#[derive(Clone)]
pub struct Outside {
    pub(super) schedule: Arc<Schedule>,
}

/// The error of a call that the simulation had fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulation had the call fail")]
pub struct OutsideError;

impl Outside {
    /// Makes a call: the thread waits as long as the call takes, by the simulation's clock. To be used on a thread
    /// of the job, where the real call would block.
    ///
    /// # Errors
    /// When the call fails.
    pub fn call(&self) -> Result<(), OutsideError> {
        let (takes, is_answered) = self.schedule.draw(|faults| faults.call());
        threads::pause(takes);
        if is_answered { Ok(()) } else { Err(OutsideError) }
    }
}
