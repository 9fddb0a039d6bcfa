//! How much memory hot state takes, and may take.

use std::cell::Cell;
use std::rc::Rc;

/// Memory of all tables of a worker, against its limit.
#[derive(Clone, Debug, Default)]
pub struct MemoryUse {
    used: Rc<Cell<u64>>,
    limit: Option<u64>,
}

impl MemoryUse {
    /// Counts against `limit` bytes, or without one.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { used: Rc::default(), limit }
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.used.set(self.used.get() + bytes);
    }

    pub(crate) fn sub(&self, bytes: u64) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }

    /// Whether the tables together hold more than they may: nothing should come in until some of it went.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.exceeds(4)
    }

    /// Whether it is time to evict.
    pub(crate) fn is_high(&self) -> bool {
        self.exceeds(3)
    }

    /// Whether enough was evicted: so much is free that it lasts for a while.
    pub(crate) fn is_low(&self) -> bool {
        !self.exceeds(2)
    }

    fn exceeds(&self, quarters: u64) -> bool {
        self.limit.is_some_and(|limit| self.used.get() > limit / 4 * quarters)
    }

    /// Bytes held, estimated.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.get()
    }
}
