//! The end of a job.

use serde::{Deserialize, Serialize};

use crate::time::Epoch;

/// The end of a job: its last epoch, and whether event time ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finish {
    /// The last epoch.
    pub(crate) last: Epoch,
    /// True at the end of bounded input: event time ends and every window fires. False on a stop: state stays as
    /// it is.
    pub(crate) drain: bool,
}
