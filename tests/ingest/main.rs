//! Tests of the HTTP source: real jobs, to which clients of the tests send, well and badly.
//!
//! They prove: what was answered with 200 is written, whenever the job is killed, and by any number of workers after it; with
//! keys each record once, also from the webhook sink of another job that is killed, too. What cannot be taken is refused with the
//! status and the reason, and nothing of it is taken. Clients that are slow, silent or many hold up nobody else. The job is the
//! example `ingest`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod bodies;
mod client;
mod crash;
mod example;
mod guarded;
mod job;
mod keys;
mod pair;
mod pressure;
mod processes;
mod reports;
mod throughput;
mod waiting;
