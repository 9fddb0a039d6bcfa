//! Operators that work in batches across keys: inference, bulk lookups.
//!
//! ```text
//! records of one epoch ─▶ gathered ─▶ prepare ─▶ run, in line or on a thread ─▶ finish ─▶ results, dead letters
//!                            closes when full, when its oldest record is max_delay old, when its epoch is over,
//!                            when it held the watermark back for max_watermark_delay, or when the worker has had a
//!                            turn without new input (idle)
//! ```
//! Work-conserving: waiting is only ever for what would have waited anyway. With threads a batch that is not full
//! closes only when one is free: it could not run before. A batch keeps the capability it came with until its
//! results are out, so neither the epoch nor the watermark passes before.
//!
//! `gather.rs` makes batches, `in_line.rs` and `pooled.rs` run them (`pool.rs` has the threads), `common.rs` is what both share.

mod common;
mod gather;
mod in_line;
mod logic;
mod operator;
mod pool;
mod pooled;

pub use logic::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution, PoolSpec};
