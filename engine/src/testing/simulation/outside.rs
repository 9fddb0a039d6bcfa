//! Calls to the world outside: a model, a service.

use std::sync::Arc;

use super::schedule::Schedule;
use crate::threads;

/// Calls to whatever is outside the job, in a simulated world: they take their time, at times too much, and fail. Cheap to
/// clone.
#[derive(Clone)]
pub struct Outside {
    pub(super) schedule: Arc<Schedule>,
}

/// A call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulation had the call fail")]
pub struct OutsideError;

impl Outside {
    /// A call: the thread waits as long as it takes, by the simulation's clock. Call this where the real thing would block, on
    /// a thread of the job.
    ///
    /// # Errors
    /// When the call fails.
    pub fn call(&self) -> Result<(), OutsideError> {
        let (takes, is_answered) = self.schedule.draw(|faults| faults.call());
        threads::pause(takes);
        if is_answered { Ok(()) } else { Err(OutsideError) }
    }
}
