//! Real model servers (`TIDEMILL_SERVERS`, as `cargo xtask test` sets them up): Triton, MLServer, KServe, and
//! pythie-serving for TensorFlow Serving's protocol.
//!
//! Proves: every server scores as ONNX Runtime does in this process, in every protocol; what does not fit is refused
//! before the first event, with both sides; whatever a server does, a batch is answered, and when the server is back it
//! is used again. Nothing is asserted of times; how long batches took is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod faults;
mod job;
mod protocols;
mod proxy;
mod recommend;
mod refused;
mod setting;
