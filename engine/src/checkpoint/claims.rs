//! Nothing of a restored checkpoint is lost unseen: what no operator of the program takes stops the job.

use super::restore::BlobName;
use crate::error::JobError;
use crate::worker::WorkerContext;

/// Checks that the program, whose graph is built, has an operator for everything in the checkpoint it restored.
///
/// # Errors
/// What would be lost, by name.
pub(crate) fn check(context: &WorkerContext) -> Result<(), JobError> {
    let ends = context.ends.borrow();
    // The watermark of an operator goes with its states, that of a source with its position.
    let whose = |blob: &String| {
        let BlobName { kind, operator, rest } = BlobName::of(blob)?;
        (kind != "operator" && rest != "watermark").then(|| format!("{kind}/{operator}"))
    };
    let lost = context.restored.keys().filter(|blob| whose(blob).is_some_and(|end| !ends.contains(&end)));
    all_claimed(&context.backend.borrow().unclaimed(), lost.map(|blob| BlobName::describe(blob)).collect())
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
