//! Models on model servers: the Open Inference Protocol (Triton, MLServer, KServe) and TensorFlow Serving, over gRPC
//! and REST.
//!
//! ```text
//! ServedModel ── checks health and metadata before the job starts
//!     │ open, once per thread
//!     ▼
//!  backend ─▶ call.rs: deadline, retries, calls in flight ─▶ breaker.rs ─▶ oip_grpc │ oip_rest │ tfs_grpc │ tfs_rest
//! ```
//! Known limits: there is no TLS; texts are UTF-8; scores are labeled with the model version at the start of the job,
//! unless the address names a version.

mod breaker;
mod call;
mod check;
mod connect;
mod elements;
mod grpc;
mod json;
mod model;
mod oip_grpc;
mod oip_rest;
mod protocol;
mod rest;
mod settings;
mod tfs_grpc;
mod tfs_rest;
mod versions;

pub use breaker::{Circuit, CircuitSettings};
pub use call::ServerCounts;
pub use model::ServedModel;
pub use settings::{ServerErrors, ServerSettings};
pub use versions::ServedVersions;
