//! Tests of the MQTT source on a real broker, mosquitto, that each test starts for itself.
//!
//! They prove: each message is written once, whether the job or the broker is killed, and whenever, also by another number
//! of workers after the restart; all are acknowledged, those of the last epoch too, and nothing before its commit. A lost
//! session, a second start, a broker without MQTT 5 and one that is away are named. The job is the example `mqtt`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod example;
mod job;
mod outage;
mod payloads;
mod refused;
mod sessions;
mod tls;
