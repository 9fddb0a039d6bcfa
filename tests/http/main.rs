//! What a running job serves over HTTP, looked at from outside: real jobs, and clients that behave well, badly, or not
//! at all.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod answers;
mod bottleneck;
mod client;
mod cluster;
mod crowd;
mod described;
mod drift;
mod events;
mod hot_keys;
mod job;
mod models;
mod refused;
mod savepoints;
mod schema;
