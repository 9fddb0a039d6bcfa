//! Tests of the inference operator through the public API: the outcome of each record when models fail, are slow,
//! hang or panic; models with tensors of all types; and that no record is lost or scored twice when a job stops with
//! batches in flight.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod allocations;
mod closing;
mod exact;
mod fake;
mod finite;
mod ladder;
mod live;
mod logs;
mod missing;
mod mlflow;
mod onnx;
mod poison;
mod pool;
mod repository;
mod restore;
mod served;
mod simulated;
mod spec;
mod tensors;
mod trees;
mod types;
mod versions;

use std::alloc::System;
use std::sync::RwLock;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts the allocations of all threads of this process.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The lock with which the test that counts allocations excludes all others.
static ALONE: RwLock<()> = RwLock::new(());
