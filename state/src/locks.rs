//! Locks, taken whatever became of a thread that held them: all of Tidemill's crates take theirs here.
//!
//! A thread that panics ends its job, which says so. What a lock guards is whole between any two calls (a queue that has an
//! element more or not, a map), so a second panic for the first one's sake would only hide it.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Returns the guard of a lock that may be poisoned.
pub fn whole<G>(guard: LockResult<G>) -> G {
    guard.unwrap_or_else(PoisonError::into_inner)
}

/// Locks.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    whole(mutex.lock())
}

/// Locks to read.
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    whole(lock.read())
}

/// Locks to write.
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    whole(lock.write())
}
