//! What a connector implements to take records out, exactly once.
//!
//! ```text
//! epoch e runs     SinkWriter::write      prepares output of e, visible to nobody
//! e closes         SinkWriter::stage ─▶ Staged { token, flush, publish }
//! checkpoint       flush (durable), token goes into the delta of e ─▶ manifest of e = commit
//! e is committed   publish: makes the output of e visible
//! restore          Sink::recover(tokens that may not have been published)
//! ```
//! `publish` and `recover` are idempotent by epoch: after a crash between manifest and publish the
//! new incarnation finds the token in the delta and finishes the work.

mod each;
mod operator;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
pub use crate::epoch::SinkTask;
use crate::error::ConnectorError;
use crate::metrics::{Metrics, OperatorMetrics};
use crate::record::{Data, Record};
use crate::time::Epoch;
pub use crate::worker::LeaderIncarnation;

/// Something that records can be written to. Shared by all workers of a process.
pub trait Sink: Send + Sync + 'static {
    /// What it takes.
    type Item: Data;
    /// The writer of one worker.
    type Writer: SinkWriter<Item = Self::Item>;

    /// Opens this worker's writer. Called on every worker, before the first record.
    ///
    /// # Errors
    /// When the target cannot be written to.
    fn open(&self, context: SinkContext) -> Result<Self::Writer, ConnectorError>;

    /// Finishes what the restored checkpoint staged: publishes each token that was not yet, and
    /// clears away what no token names (output of epochs that never committed).
    ///
    /// Called once per start, on worker 0, before any record is written; also on a fresh start, with no
    /// tokens. Other workers may be opening their writers meanwhile. `tokens` is in the order of epochs and holds those of all workers.
    ///
    /// # Errors
    /// When staged output is not as the checkpoint says. Nothing is overwritten.
    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError>;
}

/// The token of one worker's output of one epoch, out of a restored checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedToken {
    /// The epoch that staged it.
    pub epoch: Epoch,
    /// What [`SinkWriter::stage`] returned.
    pub token: Vec<u8>,
}

/// What a sink knows about the worker that opens it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkContext {
    /// The sink's name in the job.
    pub name: String,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers over all processes.
    pub workers: usize,
    /// The epoch this run goes on from; 0 on a fresh start. Output of later epochs is not of this job's past.
    pub restored_epoch: Epoch,
    /// Drawn anew at each start: two incarnations of a job never write to the same scratch names.
    pub incarnation: u64,
    /// The incarnation of the process that leads, and has recovered: the same in all processes of one start, and
    /// known before the first record is written.
    pub leader: LeaderIncarnation,
    /// The job's clock.
    pub clock: Clock,
    /// How long an epoch is; nothing in a job without checkpoints.
    pub checkpoint_interval: Option<Duration>,
    /// What the sink counts on this worker.
    pub metrics: Arc<OperatorMetrics>,
}

impl SinkContext {
    /// Makes the context of one of `workers` workers without a job, as tests of writers need it: a fresh start without
    /// checkpoints, whose incarnation is 0; what is counted is its own. Its fields can be set.
    #[must_use]
    pub fn without_job(name: &str, worker: usize, workers: usize, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            worker,
            workers,
            restored_epoch: Epoch(0),
            incarnation: 0,
            leader: LeaderIncarnation::default(),
            clock,
            checkpoint_interval: None,
            metrics: Metrics::default().operator(name, "sink", worker),
        }
    }
}

/// One worker's side of a sink.
pub trait SinkWriter: 'static {
    /// What it takes.
    type Item: Data;

    /// Prepares one record of the epoch that runs. Must not block for long.
    ///
    /// # Errors
    /// When writing cannot go on. The job stops and can be restored.
    fn write(&mut self, record: &Record<Self::Item>) -> Result<(), ConnectorError>;

    /// Ends `epoch` and hands over its output, or `None` when it has none.
    ///
    /// # Errors
    /// When the output cannot be prepared.
    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError>;

    /// Whether the writer can take more now. While it cannot, its input waits and the sources of the
    /// job slow down.
    fn ready(&mut self) -> bool {
        true
    }
}

/// The output of one worker and one epoch, ready to be made durable and then visible.
pub struct Staged {
    /// Names the output in the delta, in the sink's own versioned encoding.
    pub token: Vec<u8>,
    /// Makes the prepared output durable. Runs on the checkpoint thread, before the delta is written.
    pub flush: SinkTask,
    /// Makes the output visible. Runs on the checkpoint thread, after the commit.
    pub publish: SinkTask,
}
