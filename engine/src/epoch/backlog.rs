//! The backlog of a sink on one worker: output of committed epochs that is not published yet.
//!
//! A target that does not answer must not hold up commits, so its output gathers here. While there is too much of it, the
//! sink takes no more records, and backpressure slows down the sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ConnectorError;
use crate::metrics::{Gauge, OperatorMetrics};

/// A task of a sink, which may block: it runs on a thread of the engine, not on a worker.
pub type SinkTask = Box<dyn FnOnce() -> Result<(), ConnectorError> + Send>;

/// The output that a sink has staged in one epoch, to be made visible after the commit.
pub(crate) struct StagedOutput {
    pub(crate) sink: String,
    pub(crate) task: SinkTask,
    /// Size of the token and of what is measured: it stands for the memory that the output takes until it is published.
    pub(crate) bytes: u64,
    pub(crate) backlog: Arc<Backlog>,
}

/// The backlog of a sink on one worker. Output waits from the commit of its epoch until the sink's thread begins to
/// publish it: what is being published is not in the way of records, however large it is.
#[derive(Debug)]
pub(crate) struct Backlog {
    waiting_bytes: AtomicU64,
    waiting_epochs: AtomicU64,
    unpublished_bytes: Gauge,
    unpublished_epochs: Gauge,
}

impl Backlog {
    /// Number of waiting bytes from which on the sink takes no more records.
    const MAX_BYTES: u64 = 64 << 20;
    /// Number of waiting epochs from which on the sink takes no more records: each is a file that manifests name.
    const MAX_EPOCHS: u64 = 2000;

    pub(crate) fn new(metrics: &OperatorMetrics) -> Self {
        Self {
            waiting_bytes: AtomicU64::new(0),
            waiting_epochs: AtomicU64::new(0),
            unpublished_bytes: metrics.gauge("unpublished_bytes"),
            unpublished_epochs: metrics.gauge("unpublished_epochs"),
        }
    }

    /// Returns whether the sink must not take more records now.
    pub(crate) fn is_full(&self) -> bool {
        let (bytes, epochs) = (&self.waiting_bytes, &self.waiting_epochs);
        bytes.load(Ordering::Relaxed) >= Self::MAX_BYTES || epochs.load(Ordering::Relaxed) >= Self::MAX_EPOCHS
    }

    /// Adds the output of an epoch, which is committed.
    pub(crate) fn committed(&self, bytes: u64) {
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.waiting_epochs.fetch_add(1, Ordering::Relaxed);
        self.unpublished_bytes.add(signed(bytes));
        self.unpublished_epochs.add(1);
    }

    /// Notes that output is being published now.
    pub(crate) fn begun(&self, bytes: u64) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting_epochs.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that output that was begun is published.
    pub(crate) fn published(&self, bytes: u64) {
        self.unpublished_bytes.add(-signed(bytes));
        self.unpublished_epochs.add(-1);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_waits_fills_it_and_what_is_being_published_does_not() {
        let backlog = Backlog::new(&Metrics::default().operator("out", "sink", 0));
        let unpublished = |backlog: &Backlog| (backlog.unpublished_bytes.get(), backlog.unpublished_epochs.get());
        backlog.committed(Backlog::MAX_BYTES);
        assert!(backlog.is_full());
        backlog.begun(Backlog::MAX_BYTES);
        assert!(!backlog.is_full() && unpublished(&backlog) == (64 << 20, 1));
        backlog.published(Backlog::MAX_BYTES);
        assert_eq!(unpublished(&backlog), (0, 0));
        (0..Backlog::MAX_EPOCHS).for_each(|_| backlog.committed(0));
        assert!(backlog.is_full());
        backlog.begun(0);
        assert!(!backlog.is_full());
    }
}
