//! The written contract between batching and the logic above it, and where batches are run.

use std::sync::Arc;
use std::time::Duration;
use std::vec::Drain;

use crate::error::JobError;
use crate::record::{Data, DeadLetter, Record};

/// What an operator does with a batch of records of any keys, on the worker: before and after the run.
///
/// # Contract (the shell relies on it)
/// * It keeps nothing between batches that a result depends on: a restore brings nothing back.
/// * Each record of the batch comes out exactly once, as a result or as a dead letter.
pub trait BatchLogic: 'static {
    /// What comes in.
    type In: Data;
    /// What goes out.
    type Out: Data;
    /// A batch as it is run: its buffers, which are used again and again.
    type Work: Default + Send + 'static;

    /// The most records one batch has. It may change from batch to batch.
    fn max_batch_size(&self) -> usize;

    /// How long a record may wait for its batch to fill while the worker is busy with other input.
    fn max_delay(&self) -> Duration;

    /// The same for a batch that holds the watermark back: that of the input has passed it. A source moves its
    /// watermark with every read, so with nothing here a batch has no more records than a read.
    fn max_watermark_delay(&self) -> Duration {
        self.max_delay()
    }

    /// Makes the work of `records`, between one and [`max_batch_size`](Self::max_batch_size) of them.
    fn prepare(&mut self, records: &[Record<Self::In>], work: &mut Self::Work);

    /// Marks prepared work that a thread was lost with: `reason` says how. Whether to run what is left to try.
    fn give_up(&mut self, records: &[Record<Self::In>], work: &mut Self::Work, reason: String) -> bool;

    /// Makes results of the work that was run.
    ///
    /// # Errors
    /// What cannot be helped record by record stops the job: [`JobError::operator`] makes such an error.
    fn finish(
        &mut self,
        batch: Drain<'_, Record<Self::In>>,
        work: &mut Self::Work,
        times: BatchTimes,
        output: &mut BatchOutput<Self::Out>,
    ) -> Result<(), JobError>;
}

/// Where a batch's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchTimes {
    /// From its first record until it was closed and prepared.
    pub gathered: Duration,
    /// From then until it was run: it waited for a thread.
    pub queued: Duration,
    /// Its run.
    pub ran: Duration,
    /// From its first record until its results are made: all of these, and the way back from the thread.
    pub total: Duration,
}

/// Runs prepared work; one per thread. It may block where it is on a thread of its own.
pub trait BatchRunner<W>: Send + 'static {
    /// Runs it. What goes wrong is noted in the work; a panic loses it.
    fn run(&mut self, work: &mut W);
}

/// Where batches are run.
pub enum Execution<W> {
    /// On the worker, whose other operators wait meanwhile: for what is cheaper than the hop.
    InLine(Box<dyn BatchRunner<W>>),
    /// On threads beside the worker.
    Pool(PoolSpec<W>),
}

/// Threads to run batches on.
pub struct PoolSpec<W> {
    /// One for each thread.
    pub runners: Vec<Box<dyn BatchRunner<W>>>,
    /// Another one, for a thread in the place of one that was lost.
    pub open: Arc<dyn Fn() -> Box<dyn BatchRunner<W>> + Send + Sync>,
    /// The most batches that are with the threads at a time. Others wait, and sources with them.
    pub max_in_flight: usize,
    /// Whether results leave in the order their records came.
    pub ordered: bool,
    /// After this a thread is given up, and its batch with it.
    pub deadline: Option<Duration>,
}

/// Where a batch's records go.
#[derive(Debug)]
pub struct BatchOutput<O> {
    /// Results.
    pub records: Vec<Record<O>>,
    /// What could not be handled.
    pub dead_letters: Vec<Record<DeadLetter>>,
}
