//! Nothing of a restored checkpoint is lost unseen: what no operator of the program takes stops the job.

use super::restored::{Ends, Restored};
use crate::error::JobError;

/// Checks that the program, whose graph is built, has an operator for everything in the checkpoint it restored: `states` are those
/// that none has opened, `ends` its sources and sinks.
///
/// # Errors
/// What would be lost, by name.
pub(crate) fn check(states: &[&str], restored: &Restored, ends: &Ends) -> Result<(), JobError> {
    all_claimed(states, restored.unclaimed(ends))
}

/// Refuses to lose these states, and these other things.
///
/// # Errors
/// Where there are any.
pub(crate) fn all_claimed(states: &[&str], others: Vec<String>) -> Result<(), JobError> {
    let states = states.iter().map(|state| format!("state \"{state}\""));
    let lost: Vec<String> = states.chain(others).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(JobError::Invalid(format!(
        "the checkpoint holds what no operator of this program has: {}; if something has another name now, say --renamed OLD=NEW; if it was removed on purpose, --drop-state NAME gives up what it kept; or run the program that wrote it, or start with --restore none in an empty checkpoint directory",
        lost.join(", ")
    )))
}
