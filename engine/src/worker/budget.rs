//! Backpressure: the number of records that may be in flight in a process.
//!
//! Timely's queues have no bound, so every place where records can pile up charges a budget, and a
//! source does not read while its process has used up the budget.
//!
//! ```text
//! source ── reads only while in_flight < limit
//!   └─▶ exchange: charge ──▶ queue ──▶ receiver: release        (another process: by acknowledgement)
//!        shell:   records that are stashed for a later epoch stay charged; release when they are applied
//!        sink:    charge records that wait for a slow writer, release when they are written
//! ```
//! Records that wait for the watermark in event-time order are not charged: they can only leave when the slowest
//! source goes on. They are counted separately, and when there are many the other sources wait.

use std::sync::atomic::{AtomicI64, Ordering};

/// The number of records in flight in this process, and its limit. Shared by the workers of the process.
#[derive(Debug)]
pub(crate) struct Budget {
    in_flight: AtomicI64,
    limit: i64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { in_flight: AtomicI64::new(0), limit: i64::try_from(limit).unwrap_or(i64::MAX) }
    }

    /// Counts records that begin to wait in a queue.
    pub(crate) fn charge(&self, records: usize) {
        self.in_flight.fetch_add(records as i64, Ordering::Relaxed);
    }

    /// Counts records that no longer wait.
    pub(crate) fn release(&self, records: usize) {
        self.in_flight.fetch_sub(records as i64, Ordering::Relaxed);
    }

    /// Returns whether sources have to wait.
    pub(crate) fn is_spent(&self) -> bool {
        self.in_flight() >= self.limit
    }

    /// Returns the number of records in flight from which on sources wait.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the API names it"))]
    pub(crate) fn limit(&self) -> i64 {
        self.limit
    }

    /// Returns the number of records in flight now.
    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}
