//! The policy that decides when a worker takes a base snapshot.

use std::time::{Duration, Instant};

use tidemill_state::WorkerEntry;

use crate::threads;

/// The policy that decides when a worker takes a base snapshot, instead of only adding deltas: once the deltas
/// since the last base are too large or too many, but not more often than `min_interval`, unless the state is
/// small or the deltas are far too large.
///
/// Every delta since the last base is a file that each manifest names, so their number is limited too. A base costs
/// RocksDB a flush, and with larger states a compaction now and then: those wait for the interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BasePolicy {
    /// Size of the deltas since the last base from which on a base is due, bytes.
    pub(crate) delta_bytes: u64,
    /// Number of deltas since the last base from which on a base is due.
    pub(crate) deltas: usize,
    /// Minimum time between two bases.
    pub(crate) min_interval: Duration,
    /// Size of base and deltas together up to which many deltas make a base due without regard to `min_interval`,
    /// bytes.
    pub(crate) small: u64,
}

/// How many times `delta_bytes` the deltas may have before a base is taken without regard to `min_interval`: a restart
/// reads them all.
const FAR_TOO_LARGE: u64 = 4;

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
        let long_ago = since.begun.is_none_or(|begun| threads::since(begun) >= self.min_interval);
        (large || many) && ((many && small) || long_ago || self.is_overdue(since))
    }

    /// Returns whether the deltas are far too large. Then a base should not wait for processor time that others leave.
    pub(super) fn is_overdue(&self, since: &SinceBase) -> bool {
        since.delta_bytes >= self.delta_bytes.saturating_mul(FAR_TOO_LARGE)
    }
}

/// The deltas since the last base was begun.
pub(super) struct SinceBase {
    /// The time at which it was begun; `None` if no base was begun in this run.
    pub(super) begun: Option<Instant>,
    pub(super) deltas: usize,
    pub(super) delta_bytes: u64,
    /// Size of the last base that was stored, bytes.
    pub(super) base_bytes: u64,
}

impl SinceBase {
    pub(super) fn now(base_bytes: u64) -> Self {
        Self { begun: Some(threads::now()), deltas: 0, delta_bytes: 0, base_bytes }
    }

    /// Returns the count for the files of a restored checkpoint. Deltas count although an earlier run wrote them:
    /// otherwise they would grow without end where a job is killed before it has taken a base.
    pub(super) fn restored(files: &WorkerEntry) -> Self {
        let deltas = || files.deltas_to_apply();
        Self {
            begun: None,
            deltas: deltas().count(),
            delta_bytes: deltas().map(|delta| delta.len).sum(),
            base_bytes: files.base.iter().flat_map(|base| &base.files).map(|file| file.len).sum(),
        }
    }
}
