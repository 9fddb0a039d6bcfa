//! Functions that take a lock even if a thread panicked while it held the lock. All of Tidemill's crates take their
//! locks here.
//!
//! A thread that panics ends its job, and the job reports the panic. The data behind a lock is consistent between any
//! two calls (a queue has one element more or less, a map one entry), so a second panic because of the poisoned lock
//! would only hide the first.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Returns the guard of a lock, poisoned or not.
pub fn whole<G>(guard: LockResult<G>) -> G {
    guard.unwrap_or_else(PoisonError::into_inner)
}

/// Locks a mutex.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    whole(mutex.lock())
}

/// Locks a read-write lock for reading.
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    whole(lock.read())
}

/// Locks a read-write lock for writing.
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    whole(lock.write())
}
