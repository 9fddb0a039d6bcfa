//! Nothing of a restored checkpoint is lost unseen: what no operator of the program takes stops the job.

use std::collections::BTreeSet;

use super::restore::{BlobName, Blobs};
use crate::error::JobError;

/// Checks that the program, whose graph is built, has an operator for everything in the checkpoint it restored: `states` are those
/// that none has opened, `ends` its sources and sinks (`source/name`, `sink/name`).
///
/// # Errors
/// What would be lost, by name.
pub(crate) fn check(states: &[&str], blobs: &Blobs, ends: &BTreeSet<String>) -> Result<(), JobError> {
    // The watermark of an operator goes with its states, that of a source with its position.
    let whose = |blob: &String| {
        let BlobName { kind, operator, rest } = BlobName::of(blob)?;
        (kind != "operator" && rest != "watermark").then(|| format!("{kind}/{operator}"))
    };
    let lost = blobs.keys().filter(|blob| whose(blob).is_some_and(|end| !ends.contains(&end)));
    all_claimed(states, lost.map(|blob| BlobName::describe(blob)).collect())
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
