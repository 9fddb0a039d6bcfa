//! Epochs on one worker: the input that belongs to each, the operators that have closed it, and the end of the
//! last one.
//!
//! ```text
//! align.rs   of one operator: apply at once, or stash until its epoch begins     finish.rs  which epoch is the last
//! epochs.rs  of one worker: what its operators contribute, until all have closed the epoch
//! backlog.rs of one sink: what is committed and not published yet
//! ```

mod align;
mod backlog;
mod epochs;
mod finish;

pub(crate) use align::{Aligner, Step};
pub use backlog::SinkTask;
pub(crate) use backlog::{Backlog, StagedOutput};
pub(crate) use epochs::{Epochs, SourceId};
pub(crate) use finish::Finish;
