//! The engine of Tidemill: time, streams, the operator shell, checkpoints, jobs and their metrics.
//!
//! ```text
//! job ─▶ stream (the graph) ─▶ ingest · exchange · shell · egress  (timely operators)
//!  └──▶ checkpoint (epochs, manifest, restore)        └─▶ worker, metrics
//! testing: drives the shell, or a whole job, from a test
//! mesh: how several processes find each other · leaves: time, record, clock, error, cluster, threads
//! ```

mod alignment;
pub mod batch;
mod checkpoint;
pub mod cli;
pub mod clock;
pub mod crash;
mod epoch;
pub mod error;
pub mod graph;
pub mod keyed;
mod locks;
pub mod metrics;
pub mod record;
mod run;
pub mod sink;
pub mod source;
pub mod testing;
pub mod threads;
pub mod time;
mod worker;

pub use cli::JobArgs;
pub use clock::Clock;
pub use error::{ConnectorError, ErrorKind, JobError, with_causes};
pub use graph::{Either, Flow, KeyedStream, Stream, updates};
pub use metrics::{JobState, OperatorSnapshot, Snapshot};
pub use record::{Arrival, Data, DeadLetter, Record};
pub use run::{Job, JobSettings, JobSetup};
#[doc(hidden)]
pub use threads as turns;
pub use time::{Epoch, EventTime};

/// What programs and operators are written against: the contracts of keyed and of batched logic.
pub mod shell {
    pub use crate::batch::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution, PoolSpec};
    pub use crate::keyed::{
        Context, KeyedLogic, ListState, LogicError, MapState, Order, ParameterStates, States, ValueState,
    };
}

/// The typed graph under the name that programs know.
pub mod stream {
    pub use crate::graph::{Either, Flow, KeyedStream, Stream};
}
