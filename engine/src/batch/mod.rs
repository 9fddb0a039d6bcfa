//! Operators that work in batches across keys: inference, bulk lookups.
//!
//! ```text
//! records of one epoch ─▶ gathered ─▶ prepare ─▶ run, in line or on a thread ─▶ finish ─▶ results, dead letters
//!                            closes when full, when its oldest record is max_delay old, when its epoch is over,
//!                            when it has delayed the watermark for max_watermark_delay, or when the worker has had
//!                            a turn without new input (idle)
//! ```
//! Batching is work-conserving: a record only waits while the worker or the threads are busy anyway. With threads,
//! a batch that is not full closes only when a thread is free, since it could not run before. A batch keeps the
//! capability of its records until its results are sent, so neither the epoch nor the watermark passes it.
//!
//! `gather.rs` makes batches, `in_line.rs` and `pooled.rs` run them (`pool.rs` has the threads), and `common.rs`
//! has what both share.

mod common;
mod gather;
mod in_line;
mod logic;
mod machine;
mod operator;
mod pool;
mod pooled;

pub use logic::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution, PoolSpec};
