//! The check that nothing of a restored checkpoint is lost silently: state that no operator of the program claims
//! stops the job.

use super::restored::{Ends, Restored};
use crate::error::{JobError, Remedy};

/// Checks that the program, whose graph is built, has an operator for everything in the restored checkpoint:
/// `states` are those that no operator has opened, `ends` the sources and sinks of the program, `changed` the operators of
/// the control log that it does not have.
///
/// # Errors
/// When something would be lost: all of it, by name.
pub(crate) fn check(states: &[&str], restored: &Restored, ends: &Ends, changed: Vec<String>) -> Result<(), JobError> {
    let of_operator = |name: String| {
        let what = format!("changes of the operator \"{name}\", in its control log");
        (name, what)
    };
    let others = restored.unclaimed(ends).into_iter().chain(changed.into_iter().map(of_operator));
    all_claimed(states, others.collect())
}

/// Refuses to lose these states and these other values, given as pairs of owner and description.
///
/// # Errors
/// When there are any.
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
        "the checkpoint has data that no operator of this program declares: {}; name what has another name now (renamed), and what was removed on purpose and may be discarded (drop_state); or run the program that wrote it, or start over in an empty checkpoint directory",
        lost.join(", ")
    );
    Err(JobError::setting(reason, remedies))
}
