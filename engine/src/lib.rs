//! The engine of Tidemill: time, streams, operators, checkpoints, jobs and their metrics.
//!
//! Whoever is further down knows only those above it; so it is between the files of a folder.
//! ```text
//! leaves       time · error · locks · record · clock · metrics · threads · crash · alignment (of watermarks)
//! epoch/       which input belongs to which epoch, and what a worker's operators contribute to one
//! checkpoint/  how an epoch becomes a commit, and how one is restored
//! worker/      what a worker has, and shares with the others of its process
//! graph/       flows, streams, ports, what needs no state
//! source/ · sink/ · keyed/ (by key, with state and timers) · batch/ (across keys)      each with its verb
//! run/         a job: settings, processes, workers, the page
//! cli          its command line          testing/  a test's own world
//! ```

mod alignment;
mod batch;
mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod crash;
mod epoch;
pub mod error;
mod graph;
mod keyed;
pub mod metrics;
pub mod record;
mod run;
pub mod sink;
pub mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod threads;
pub mod time;
mod worker;

#[cfg(feature = "cli")]
pub use cli::JobArgs;
pub use clock::Clock;
pub use error::{ConnectorError, ErrorKind, JobError, Remedy, with_causes};
#[cfg(feature = "tables")]
pub use graph::updates;
pub use graph::{Either, Flow, KeyedStream, Stream};
pub use metrics::{JobState, OperatorSnapshot, Snapshot};
pub use record::{Arrival, Data, DeadLetter, Record};
pub use run::{Job, JobSettings, JobSetup};
#[doc(hidden)]
pub use tidemill_state::locks;
pub use time::{Epoch, EventTime, ProcessingTime};

/// What programs and operators are written against: the contracts of keyed and of batched logic.
pub mod shell {
    pub use crate::batch::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution, PoolSpec};
    pub use crate::keyed::{
        Context, KeyedLogic, KeyedOutput, ListState, LogicError, MapState, Order, ParameterStates, States, ValueState,
    };
}

/// The typed graph under the name that programs know.
pub mod stream {
    pub use crate::graph::{Either, Flow, KeyedStream, Stream};
}
