//! A reference file: a keyed table in a file that is replaced as a whole and read again when it has changed.
//!
//! ```text
//! check ─▶ changed, and stable since ─▶ read and check all of it ─▶ rows in buckets of keys         worker 0
//! reader.rs     └ else: later           version.rs  └ bad: refused       │ exchange
//!                                                     differences from the emitted rows ─▶ (key, row), (key, nothing)
//!                                                     rows.rs                               all workers
//! ```
//! A bucket that may have changed is sent as a whole. The content of the table is kept as keyed state: the
//! key and a hash of each row. So differences are always computed against the state in the checkpoint, whatever
//! happened to the file, and the position is a few numbers.
//!
//! Known limit: one worker reads and checks a file, 64 KiB or 4096 rows at a time, and has all of a version in memory
//! until it is sent.

mod operator;
mod reader;
mod rows;
mod settings;
#[cfg(test)]
mod tests;
mod version;

pub use operator::ReferenceExt;
pub use settings::{ReferenceFile, Version};
