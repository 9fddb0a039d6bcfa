//! Nothing of a restored checkpoint is lost unseen: what no operator of the program takes stops the job.

use super::restored::{Ends, Restored};
use crate::error::{JobError, Remedy};

/// Checks that the program, whose graph is built, has an operator for everything in the checkpoint it restored: `states` are those
/// that none has opened, `ends` its sources and sinks.
///
/// # Errors
/// What would be lost, by name.
pub(crate) fn check(states: &[&str], restored: &Restored, ends: &Ends) -> Result<(), JobError> {
    all_claimed(states, restored.unclaimed(ends))
}

/// Refuses to lose these states, and these other things, of which is known whose they are.
///
/// # Errors
/// Where there are any.
pub(crate) fn all_claimed(states: &[&str], others: Vec<(String, String)>) -> Result<(), JobError> {
    let states = states.iter().map(|state| ((*state).to_owned(), format!("state \"{state}\"")));
    let (mut names, lost): (Vec<String>, Vec<String>) = states.chain(others).unzip();
    if lost.is_empty() {
        return Ok(());
    }
    names.dedup();
    let dropped = names.into_iter().map(Remedy::DropState);
    let remedies: Vec<Remedy> = [Remedy::Rename].into_iter().chain(dropped).chain([Remedy::StartOver]).collect();
    let reason = format!(
        "the checkpoint holds what no operator of this program has: {}; say what has another name now (renamed), or what was removed on purpose and may be discarded (drop_state); or run the program that wrote it, or start over in an empty checkpoint directory",
        lost.join(", ")
    );
    Err(JobError::setting(reason, remedies))
}
