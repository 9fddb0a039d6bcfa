//! The memory that hot state takes, and its limit.

use std::cell::Cell;
use std::rc::Rc;

/// A counter of the memory that all tables of a worker take, with its limit, and of the part that one state has of it.
/// Clones share both.
#[derive(Clone, Debug, Default)]
pub struct MemoryUse {
    used: Rc<Cell<u64>>,
    part: Rc<Cell<u64>>,
    limit: Option<u64>,
}

impl MemoryUse {
    /// Creates a counter with a limit of `limit` bytes, or without one.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { used: Rc::default(), part: Rc::default(), limit }
    }

    /// Returns a counter of the same memory, for the part of one more state.
    pub(crate) fn of_state(&self) -> Self {
        Self { part: Rc::default(), ..self.clone() }
    }

    /// Returns the bytes that the state of this counter has in use (estimated).
    pub(crate) fn part(&self) -> u64 {
        self.part.get()
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.used.set(self.used.get() + bytes);
        self.part.set(self.part.get() + bytes);
    }

    pub(crate) fn sub(&self, bytes: u64) {
        self.used.set(self.used.get().saturating_sub(bytes));
        self.part.set(self.part.get().saturating_sub(bytes));
    }

    /// Returns whether the tables together exceed the limit: nothing should be taken in until some of it was evicted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.exceeds(4)
    }

    /// Returns whether it is time to evict.
    pub(crate) fn is_high(&self) -> bool {
        self.exceeds(3)
    }

    /// Returns whether enough was evicted: the free memory lasts for a while.
    pub(crate) fn is_low(&self) -> bool {
        !self.exceeds(2)
    }

    fn exceeds(&self, quarters: u64) -> bool {
        self.limit.is_some_and(|limit| self.used.get() > limit / 4 * quarters)
    }

    /// Returns the bytes in use (estimated).
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.get()
    }
}
