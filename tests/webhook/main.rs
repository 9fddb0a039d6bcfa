//! Tests of the webhook sink against HTTP servers that each test starts for itself.
//!
//! They prove: each record comes at least once, and twice only in a request with the same key and the same body, whenever the
//! job is killed, and by any number of workers after it; a server that is away, slow, or breaks off is tried again under the
//! same key. What it refuses is a dead letter or stops the job. What cannot work is refused at the start, and no message has a
//! secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod crash;
mod faults;
mod job;
mod letters;
mod refused;
mod reports;
mod secrets;
mod server;
mod tls;
