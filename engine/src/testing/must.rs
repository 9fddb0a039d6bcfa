//! The failure of a test where a job would stop.

use crate::error::JobError;

/// Returns the value of a result; panics with the whole report of an error.
#[track_caller]
pub(in crate::testing) fn must<T>(result: Result<T, JobError>) -> T {
    result.unwrap_or_else(|error| panic!("{}", error.report()))
}
