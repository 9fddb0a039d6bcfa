//! How a test fails where a job would stop.

use crate::error::JobError;

/// The value, or the end of the test with everything that is known of the error.
#[track_caller]
pub(in crate::testing) fn must<T>(result: Result<T, JobError>) -> T {
    result.unwrap_or_else(|error| panic!("{}", error.report()))
}
