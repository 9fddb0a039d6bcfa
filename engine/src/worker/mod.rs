//! The parts of a worker, and what it shares with the other workers of its process.
//!
//! ```text
//! context.rs  one worker: its state, epochs, names, alarms         process.rs  all workers of the process
//! alarms.rs   when operators want to be called again               budget.rs   records in flight
//! pulse.rs    signs of life                                pages.rs    where the processes serve HTTP
//! failure.rs  the first error                                  start_times.rs  how long a start took
//! ```

mod alarms;
mod budget;
mod context;
mod failure;
mod pages;
mod process;
mod pulse;
mod start_times;

pub(crate) use budget::Budget;
pub(crate) use context::{Shared, WorkerContext};
pub(crate) use failure::Failure;
pub(crate) use pages::Pages;
pub use process::LeaderIncarnation;
pub(crate) use process::{CheckpointCounts, CheckpointsAt, JobProgress, Process, StateUse};
pub(crate) use start_times::StartTimes;
