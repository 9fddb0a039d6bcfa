//! Locks that outlive a panic.
//!
//! A thread that panics while it holds a lock poisons it. What is behind our locks is whole after each statement, and the panic
//! itself becomes the job's error: whoever else looks goes on with what is there.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};

/// The guard, of a lock that may be poisoned.
pub(crate) fn whole<G>(guard: LockResult<G>) -> G {
    guard.unwrap_or_else(PoisonError::into_inner)
}

/// Locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    whole(mutex.lock())
}
