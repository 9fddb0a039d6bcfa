//! Tests of the PostgreSQL sink on real servers, each of which a test starts for itself.
//!
//! They prove: each row is in its table once, and an upsert keeps the last row of each key, whether the job or the server was
//! killed, and whenever, also with another number of workers. A server that hangs holds up no other sink. What cannot work is
//! refused with both sides in the message.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod faults;
mod job;
mod pipeline;
mod refused;
mod server;
mod tls;
