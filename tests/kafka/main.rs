//! The examples on a real Apache Kafka (`TIDEMILL_KAFKA`, as `cargo xtask test` starts it), and on librdkafka's mock.
//!
//! Proves: a `read_committed` consumer sees each prediction exactly once, each card's in order, whatever was killed
//! when, job or broker; partitions that are new, silent or behind lose nothing; what cannot work is refused with its numbers.
//! Waits are shortened by settings (`idle-after=1s`, `discovery=200ms`) and no time is asserted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod brokers;
mod cluster;
mod crash;
mod job;
mod library;
mod limits;
mod mock;
mod partitions;
mod recreated;
mod tombstones;
mod windows;
mod zombie;
