//! Tests with real model servers (`TIDEMILL_SERVERS`, as `cargo xtask test` sets them up): Triton, MLServer, KServe,
//! and pythie-serving for TensorFlow Serving's protocol. MLflow's registry is started by `cargo xtask soak` only.
//!
//! They prove: every server scores as ONNX Runtime does in this process, in every protocol. A model that does not fit
//! is refused before the first event, with both sides in the message. Whatever a server does, each batch is answered,
//! and when the server is back it is used again. A version comes out of MLflow's registry as it was registered. The
//! tests assert no times; how long batches took is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod faults;
mod job;
mod mlflow;
mod protocols;
mod proxy;
mod recommend;
mod refused;
mod setting;
mod versions;
