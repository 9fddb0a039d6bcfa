//! How many bytes of requests may be in memory, over all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that requests share.
pub(super) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// Bytes that one request has taken of the budget. They are given back when this is dropped.
pub(super) struct Reserved {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Returns a reservation of nothing yet.
    pub(super) fn reserve(self: &Arc<Self>) -> Reserved {
        Reserved { budget: Arc::clone(self), bytes: 0 }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reserved {
    /// Takes more bytes. Returns false, and takes nothing, if there are not so many left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.budget.max);
        let took = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if took {
            self.bytes += bytes;
        }
        took
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_take_is_limited_and_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.reserve(), budget.reserve());
        assert!(one.grow(6) && !other.grow(5) && other.grow(4) && !one.grow(1) && !one.grow(usize::MAX));
        assert_eq!(budget.used(), 10);
        drop(one);
        assert!(other.grow(6));
        drop(other);
        assert_eq!(budget.used(), 0);
    }
}
