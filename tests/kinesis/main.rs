//! Tests of the Kinesis source: on kinesalite, an emulator that each test starts for itself, and on a service of the tests' own
//! where answers must be broken.
//!
//! They prove: each record is written once, whether the job or the service is killed, and whenever, while the stream is split and
//! merged, and by another number of workers after the restart; the records of a key keep their order. Records that have expired
//! unread, a stream that was created again, and credentials that are refused are named. The job is the example `kinesis`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod crash;
mod example;
mod faults;
mod job;
mod refused;
mod reports;
mod reshard;
mod service;
mod stream;
