//! The engine of Tidemill: time, streams, operators, checkpoints, jobs and their metrics.
//!
//! A module imports only from those above it in this list; the same holds between the files of a folder.
//! ```text
//! leaves       time · error · locks · record · packet · clock · spans · place (of a thread) · call_span · tap · board · metrics · threads ·
//!              crash · alignment (of watermarks)
//! otlp/        sends spans to a collector
//! epoch/       which input belongs to which epoch, and what a worker's operators contribute to one
//! checkpoint/  how an epoch becomes a commit, and how one is restored
//! worker/      what a worker owns, and what it shares with the other workers of its process
//! graph/       flows, streams, ports and the stateless operators
//! source/ · sink/ · keyed/ (by key, with state and timers) · batch/ (across keys)      operators, each with its method
//! http/        what a job shows of itself: the page, the API, metrics
//! run/         a job: settings, processes, workers
//! cli          the command line of a job          testing/  sources, sinks and simulations for tests
//! ```

// docs.rs, which sets `docsrs` and compiles with nightly, shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Much is kept only to be shown. What nothing uses is found with all features on.
#![cfg_attr(
    not(all(feature = "http", feature = "cli", feature = "otlp")),
    allow(
        dead_code,
        reason = "what is served, logged and sent has no reader without the server, the log and the exporter"
    )
)]

mod alignment;
mod attention;
mod batch;
mod board;
pub mod call_span;
mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
mod control;
pub mod crash;
mod cut;
mod epoch;
pub mod error;
mod graph;
#[cfg(feature = "http")]
mod http;
mod keyed;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod packet;
#[cfg(feature = "http")]
mod page;
mod place;
pub mod record;
mod run;
pub mod sink;
pub mod source;
mod spans;
mod tap;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod threads;
pub mod time;
#[cfg(all(feature = "cli", feature = "http"))]
mod warnings;
mod worker;

pub use board::Board;
#[cfg(feature = "cli")]
pub use cli::JobArgs;
pub use clock::Clock;
pub use control::{ChangeEvent, ChangeRequest, Controlled, Decision};
pub use error::{ConnectorError, ErrorKind, JobError, Remedy, with_causes};
#[cfg(feature = "tables")]
pub use graph::updates;
pub use graph::{Either, Flow, KeyedStream, Stream};
pub use metrics::{JobState, OperatorSnapshot, Snapshot};
pub use record::{Arrival, Data, DeadLetter, Record};
pub use run::{Job, JobSettings, JobSetup};
pub use tidemill_state::ControlEntry;
#[doc(hidden)]
pub use tidemill_state::locks;
pub use time::{Epoch, EventTime, ProcessingTime};

/// The contracts that programs and operators implement: keyed logic and batched logic.
pub mod shell {
    pub use crate::batch::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution, PoolSpec};
    pub use crate::keyed::{
        Context, KeyedLogic, KeyedOutput, ListState, LogicError, MapState, Order, ParameterStates, States, ValueState,
    };
}

/// The typed graph of a job, under the name that programs use.
pub mod stream {
    pub use crate::graph::{Either, Flow, KeyedStream, Stream};
}
