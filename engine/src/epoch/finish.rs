//! How a job ends.

use serde::{Deserialize, Serialize};

use crate::time::Epoch;

/// How a job ends: after which epoch, and whether event time runs out with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finish {
    /// The last epoch.
    pub(crate) last: Epoch,
    /// True at the end of bounded input: every window fires. False on a stop: state stays as it is.
    pub(crate) drain: bool,
}
