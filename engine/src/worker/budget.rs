//! Flow control: how many records may be under way in a process.
//!
//! Timely queues without a bound, so every place where records can pile up charges a budget, and a
//! source does not read while its process is over it.
//!
//! ```text
//! source ── reads only while in_flight < limit
//!   └─▶ exchange: charge ──▶ queue ──▶ receiver: release        (another process: by acknowledgement)
//!        shell:   charge what is stashed for a later epoch, release when it is applied
//!        sink:    charge what waits for a slow writer, release when it is written
//! ```
//! What an event-time order waits for is not charged: it can only leave when the slowest source goes on. It is
//! counted, and the other sources wait when it is much.

use std::sync::atomic::{AtomicI64, Ordering};

/// Records under way in this process, against a limit. Shared by its workers.
#[derive(Debug)]
pub(crate) struct Budget {
    in_flight: AtomicI64,
    limit: i64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { in_flight: AtomicI64::new(0), limit: i64::try_from(limit).unwrap_or(i64::MAX) }
    }

    /// These records now wait somewhere.
    pub(crate) fn charge(&self, records: usize) {
        self.in_flight.fetch_add(records as i64, Ordering::Relaxed);
    }

    /// These records no longer wait.
    pub(crate) fn release(&self, records: usize) {
        self.in_flight.fetch_sub(records as i64, Ordering::Relaxed);
    }

    /// Whether sources have to wait.
    pub(crate) fn is_spent(&self) -> bool {
        self.in_flight() >= self.limit
    }

    /// Records under way right now.
    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}
