//! The first error of a process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::JobError;
use crate::locks::lock;

/// The first error of a process; later ones are consequences of it and are dropped.
#[derive(Default)]
pub(crate) struct Failure {
    failed: AtomicBool,
    first: Mutex<Option<JobError>>,
}

impl Failure {
    pub(crate) fn set(&self, error: JobError) {
        lock(&self.first).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Returns the report of an error that happened in this process, and not one that another process caused.
    pub(crate) fn of_this_process(&self) -> Option<String> {
        let first = lock(&self.first);
        first.as_ref().filter(|error| !matches!(error, JobError::Cluster { .. })).map(JobError::report)
    }

    /// Returns the report of the first error.
    #[cfg(feature = "http")]
    pub(crate) fn report(&self) -> Option<String> {
        lock(&self.first).as_ref().map(JobError::report)
    }

    pub(crate) fn take(&self) -> Option<JobError> {
        lock(&self.first).take()
    }
}
