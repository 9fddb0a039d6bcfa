//! Savepoints: copies of checkpoints that stand alone, have a name, and are never pruned.
//!
//! ```text
//! savepoints/NAME/            a checkpoint directory with one checkpoint; it may be moved anywhere
//!   manifests/{epoch}.json
//!   deltas/…  bases/…/…       every file that the manifest names, and no other
//! savepoints/.NAME.….tmp/     a draft: being written, or left by a killed process; nobody lists it
//! ```
//! `take` writes a draft, compares every byte of it with the manifest, makes it durable, and publishes it by one rename.
//! `import` is the way back: a start brings the files into the job's checkpoint directory, so that no later checkpoint
//! names a file of the savepoint.

mod draft;
mod import;
mod mode;
mod open;
mod place;
mod take;

pub use mode::ClaimMode;
pub use open::{ListedSavepoint, Savepoint, savepoints};
pub use place::{SavepointName, savepoint_place};
pub use take::{Sharing, take_savepoint, take_savepoint_unless_removed};

#[cfg(test)]
mod tests;
