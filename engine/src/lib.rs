//! The engine of Tidemill: time, streams, the operator shell, checkpoints, jobs and their metrics.
//!
//! ```text
//! job ─▶ stream (the graph) ─▶ ingest · exchange · shell · egress  (timely operators)
//!  └──▶ checkpoint (epochs, manifest, restore)        └─▶ worker, metrics
//! testing: drives the shell, or a whole job, from a test
//! mesh: how several processes find each other · leaves: time, record, clock, error, cluster, threads
//! ```

mod alignment;
mod checkpoint;
pub mod clock;
mod cluster;
pub mod crash;
mod epoch;
pub mod error;
mod exchange;
pub mod graph;
mod http;
pub mod job;
mod mesh;
pub mod metrics;
pub mod record;
pub mod settings;
pub mod shell;
pub mod sink;
pub mod source;
pub mod testing;
pub mod threads;
pub mod time;
mod worker;

pub use clock::Clock;
pub use error::{ConnectorError, ErrorKind, JobError, with_causes};
pub use graph::{Either, Flow, KeyedStream, Stream, updates};
pub use job::Job;
pub use metrics::{OperatorSnapshot, Snapshot};
pub use record::{Arrival, Data, DeadLetter, Record};
pub use settings::JobArgs;
#[doc(hidden)]
pub use threads as turns;
pub use time::{Epoch, EventTime};

/// Where they were before.
#[doc(hidden)]
pub mod stream {
    pub use crate::graph::{Either, Flow, KeyedStream, Stream};
}
