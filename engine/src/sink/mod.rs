//! The traits that a connector implements to write records out, exactly once.
//!
//! ```text
//! epoch e runs     SinkWriter::write      prepares output of e, not visible yet
//! e closes         SinkWriter::stage ─▶ Staged { token, flush, publish }
//! checkpoint       flush (durable), token goes into the delta of e ─▶ manifest of e = commit
//! e is committed   publish: makes the output of e visible, on a thread of the sink, in the order of epochs
//! restore          Sink::recover(tokens that may not have been published)
//! ```
//! `publish` and `recover` are idempotent by epoch: after a crash between manifest and publish the
//! new incarnation finds the token in the delta and finishes the work.

mod each;
mod operator;
mod writing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
pub use crate::epoch::SinkTask;
use crate::error::ConnectorError;
use crate::metrics::{Metrics, OperatorMetrics};
use crate::record::{Data, Record};
use crate::time::Epoch;
pub use crate::worker::LeaderIncarnation;

/// A target that records can be written to, shared by all workers of a process.
pub trait Sink: Send + Sync + 'static {
    /// The data of the records that it writes.
    type Item: Data;
    /// The writer of one worker.
    type Writer: SinkWriter<Item = Self::Item>;

    /// Opens this worker's writer. Called on every worker, before the first record.
    ///
    /// # Errors
    /// When the target cannot be written to.
    fn open(&self, context: SinkContext) -> Result<Self::Writer, ConnectorError>;

    /// Finishes the output that the restored checkpoint has staged: publishes each token that was not
    /// published yet, and removes output that no token names (that of epochs which never committed).
    ///
    /// Called once per start, on worker 0, before any record is written; also on a fresh start, with no tokens.
    /// Other workers may be opening their writers meanwhile. `tokens` has those of all workers, in the order of
    /// epochs: of the restored epoch, and of all earlier ones that a slow target had not taken when it was committed.
    ///
    /// # Errors
    /// When staged output does not match the checkpoint. Nothing is overwritten.
    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError>;
}

/// The token of one worker's output in one epoch, from a restored checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedToken {
    /// The epoch that staged it.
    pub epoch: Epoch,
    /// The token that [`SinkWriter::stage`] returned.
    pub token: Vec<u8>,
}

/// The worker that opens a sink, and what it provides to the sink.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkContext {
    /// The sink's name in the job.
    pub name: String,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers over all processes.
    pub workers: usize,
    /// The epoch that this run goes on from; 0 on a fresh start. Output of later epochs never committed.
    pub restored_epoch: Epoch,
    /// Random number drawn at each start, so that two incarnations of a job never write to the same scratch names.
    pub incarnation: u64,
    /// The incarnation of the leading process, which has called `recover`: the same in all processes of one start,
    /// and known before the first record is written.
    pub leader: LeaderIncarnation,
    /// The job's clock.
    pub clock: Clock,
    /// Length of an epoch; `None` in a job without checkpoints.
    pub checkpoint_interval: Option<Duration>,
    /// The metrics of the sink on this worker.
    pub metrics: Arc<OperatorMetrics>,
    /// Whether the job has failed.
    pub failing: Failing,
}

/// Whether the job has failed, here or elsewhere. A task that waits for a target gives up then: the job waits for it, and
/// the next start publishes what it has not. Cheap to clone.
#[derive(Clone, Default)]
pub struct Failing(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Failing {
    pub(crate) fn new(has_failed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(has_failed)))
    }

    /// Returns whether the job has failed; false without a job.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|has_failed| has_failed())
    }
}

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failing").field(&self.is_set()).finish()
    }
}

impl SinkContext {
    /// Makes the context of one of `workers` workers without a job, for tests of writers: a fresh start without
    /// checkpoints, with incarnation 0 and metrics of its own. Its fields can be set.
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
            failing: Failing::default(),
        }
    }
}

/// The writer of one worker's output to a sink.
pub trait SinkWriter: 'static {
    /// The data of the records that it writes.
    type Item: Data;

    /// Prepares one record of the current epoch for output. Must not block for long.
    ///
    /// # Errors
    /// When writing cannot go on. The job stops and can be restored.
    fn write(&mut self, record: &Record<Self::Item>) -> Result<(), ConnectorError>;

    /// Ends `epoch` and hands over its output, or `None` when it has none.
    ///
    /// # Errors
    /// When the output cannot be prepared.
    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError>;

    /// Hears that the epoch that is staged next is the last one of this run: what was kept back has to appear with it.
    fn ends(&mut self) {}

    /// Returns whether the writer can take more records now. While it cannot, its input waits and
    /// backpressure slows down the sources of the job.
    fn ready(&mut self) -> bool {
        true
    }
}

/// The output of one worker and one epoch, ready to be made durable and then visible.
pub struct Staged {
    /// The token that identifies the output in the delta, in the sink's own versioned encoding.
    pub token: Vec<u8>,
    /// The task that makes the prepared output durable. It runs on the checkpoint thread, before the delta is
    /// written.
    pub flush: SinkTask,
    /// The task that makes the output visible. It runs after the commit, on a thread that each sink has on each worker,
    /// one task after the other in the order of epochs. It may take long: later epochs are committed meanwhile, and other
    /// sinks publish. The sink takes no more records while 64 MiB of its tokens, or 2,000 epochs, wait for it.
    pub publish: SinkTask,
}
