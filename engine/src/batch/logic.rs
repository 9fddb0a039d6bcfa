//! The contract between the batch operator and the logic that it runs, and the places where batches are run.

use std::sync::Arc;
use std::time::Duration;
use std::vec::Drain;

use crate::error::JobError;
use crate::record::{Data, DeadLetter, Record};
use crate::time::Epoch;

/// The logic of a batch operator, for records of any keys: what it does on the worker before and after a batch is
/// run.
///
/// # Contract (the operator relies on it)
/// * It keeps nothing between batches that a result depends on: a restore would not restore it.
/// * Each record of the batch leaves exactly once, as a result or as a dead letter.
pub trait BatchLogic: 'static {
    /// The data of the input records.
    type In: Data;
    /// The data of the results.
    type Out: Data;
    /// A prepared batch, as it is run: its buffers, which are reused for other batches.
    type Work: Default + Send + 'static;

    /// Returns the maximum number of records per batch. It may change from batch to batch.
    fn max_batch_size(&self) -> usize;

    /// Returns how long a record may wait for its batch to fill while the worker is busy with other input.
    fn max_delay(&self) -> Duration;

    /// Returns how long a record may wait in a batch that delays the watermark, because the watermark of the input
    /// has passed it. A source moves its watermark with every read, so with a delay of zero a batch has no more
    /// records than one read. Default: [`max_delay`](Self::max_delay).
    fn max_watermark_delay(&self) -> Duration {
        self.max_delay()
    }

    /// Prepares the work for `records` of `epoch`, which are between one and [`max_batch_size`](Self::max_batch_size).
    fn prepare(&mut self, epoch: Epoch, records: &[Record<Self::In>], work: &mut Self::Work);

    /// Marks prepared work whose first run was lost together with a thread, for `reason`. Returns whether to run
    /// what can still be tried.
    fn give_up(&mut self, records: &[Record<Self::In>], work: &mut Self::Work, reason: String) -> bool;

    /// Emits the results of the work that was run.
    ///
    /// # Errors
    /// When the failure is not one of single records: the job stops. [`JobError::operator`] makes such an error.
    fn finish(
        &mut self,
        batch: Drain<'_, Record<Self::In>>,
        work: &mut Self::Work,
        times: BatchTimes,
        output: &mut BatchOutput<Self::Out>,
    ) -> Result<(), JobError>;
}

/// The time that a batch spent in each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchTimes {
    /// Time from its first record until it was closed and prepared.
    pub gathered: Duration,
    /// Time from then until it was run, while it waited for a thread.
    pub queued: Duration,
    /// Time of its run.
    pub ran: Duration,
    /// Time from its first record until its results are made: all of the above, and the way back from the thread.
    pub total: Duration,
}

/// A runner of prepared work; each thread has one. It may block if it runs on a thread of its own.
pub trait BatchRunner<W>: Send + 'static {
    /// Runs the work. Failures are recorded in the work; a panic loses it.
    fn run(&mut self, work: &mut W);
}

/// The place where batches are run.
pub enum Execution<W> {
    /// On the worker, whose other operators wait meanwhile: for work that costs less than handing it to a thread.
    InLine(Box<dyn BatchRunner<W>>),
    /// On threads of their own, beside the worker.
    Pool(PoolSpec<W>),
}

/// The threads that run batches, and how they do it.
pub struct PoolSpec<W> {
    /// The runners, one for each thread.
    pub runners: Vec<Box<dyn BatchRunner<W>>>,
    /// The function that makes another runner, for a thread that replaces a lost one.
    pub open: Arc<dyn Fn() -> Box<dyn BatchRunner<W>> + Send + Sync>,
    /// Maximum number of batches that are with the threads at a time. Other batches wait, and backpressure makes the
    /// sources wait too.
    pub max_in_flight: usize,
    /// Whether results leave in the order in which their records came.
    pub ordered: bool,
    /// Time after which a thread is given up, together with the run of its batch; `None`: never.
    pub deadline: Option<Duration>,
}

/// The output of a batch.
#[derive(Debug)]
pub struct BatchOutput<O> {
    /// The results.
    pub records: Vec<Record<O>>,
    /// The dead letters of records that could not be handled.
    pub dead_letters: Vec<Record<DeadLetter>>,
}
