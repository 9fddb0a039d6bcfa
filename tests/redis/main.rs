//! Tests of the Redis sink, of lookups and of the source of streams on real servers, each of which a test starts for itself.
//!
//! They prove: each entry is in its stream once, and a hash has the last values of its key, whether the job or the server was
//! killed, and whenever, also between two batches of an epoch, and with another number of workers. A server that hangs, is
//! away, has no memory or is a replica is waited for. What cannot work is refused with both sides in the message; what the
//! server has lost is noticed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod faults;
mod feast;
mod job;
mod lookup;
mod loss;
mod refused;
mod reports;
mod server;
mod streams;
mod tls;
mod values;
