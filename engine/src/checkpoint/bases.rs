//! When a worker takes a base snapshot.

use std::time::{Duration, Instant};

use crate::threads;

/// When a worker takes a base snapshot instead of adding delta to delta.
///
/// Every delta since the last base is a file that each manifest names, so their number is limited, too. A base costs RocksDB
/// what a flush costs, and larger states a compaction now and then: those wait for the interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BasePolicy {
    /// Once the deltas since the last base have this many bytes,
    pub(crate) delta_bytes: u64,
    /// or there are this many of them.
    pub(crate) deltas: usize,
    /// No more often than this,
    pub(crate) min_interval: Duration,
    /// unless base and deltas together have no more bytes than this.
    pub(crate) small: u64,
}

impl Default for BasePolicy {
    fn default() -> Self {
        Self { delta_bytes: 64 << 20, deltas: 64, min_interval: Duration::from_secs(10), small: 16 << 20 }
    }
}

impl BasePolicy {
    pub(super) fn asks_for_one(&self, since: &SinceBase) -> bool {
        let large = since.delta_bytes >= self.delta_bytes;
        let many = since.deltas >= self.deltas;
        let small = since.base_bytes + since.delta_bytes <= self.small;
        (large || many) && ((many && small) || threads::since(since.begun) >= self.min_interval)
    }
}

/// What there is since a base was begun.
pub(super) struct SinceBase {
    pub(super) begun: Instant,
    pub(super) deltas: usize,
    pub(super) delta_bytes: u64,
    /// Bytes of the base before.
    pub(super) base_bytes: u64,
}

impl SinceBase {
    pub(super) fn now(base_bytes: u64) -> Self {
        Self { begun: threads::now(), deltas: 0, delta_bytes: 0, base_bytes }
    }
}
