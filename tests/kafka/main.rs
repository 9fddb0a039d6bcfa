//! Tests of the examples on a real Apache Kafka (`TIDEMILL_KAFKA`, as `cargo xtask test` starts it), and on
//! librdkafka's mock cluster.
//!
//! They prove: a `read_committed` consumer sees each prediction exactly once and those of each card in order, whether
//! the job or a broker was killed, and whenever. Partitions that are new, silent or behind lose nothing. Settings
//! that cannot work are refused, with their numbers in the message. Settings shorten the waits (`idle-after=1s`,
//! `discovery=200ms`), and no time is asserted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod brokers;
mod cluster;
mod control;
mod crash;
mod example;
mod job;
mod library;
mod limits;
mod mock;
mod partitions;
mod recreated;
mod tombstones;
mod windows;
mod zombie;
