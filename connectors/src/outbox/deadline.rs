//! Calls that have an end although their client knows no time limit: a server that hangs does not answer, and its
//! connection stays open.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tidemill_engine::sink::Failing;
use tidemill_engine::{ConnectorError, ErrorKind, threads};

/// How often it is looked whether the job has failed meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// Returns what `call` returns, which runs on a thread of its own; an error when it has no result after `limit`, or when
/// the job has failed. Then the thread is left alone, until the server answers or the process ends.
pub(crate) fn within<R: Send + 'static>(
    limit: Duration,
    what: &str,
    failing: &Failing,
    call: impl FnOnce() -> R + Send + 'static,
) -> Result<R, ConnectorError> {
    let (result, results) = channel();
    let call = move || drop(result.send(call()));
    threads::spawn("outbox".to_owned(), call)
        .map_err(|e| ConnectorError::caused(ErrorKind::Unavailable, "could not start a thread of a sink", e))?;
    let until = threads::now() + limit;
    loop {
        let left = until.saturating_duration_since(threads::now());
        let (kind, reason) = match results.recv_timeout(left.min(LOOK)) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) if failing.is_set() => {
                (ErrorKind::Unavailable, "the job has failed".to_owned())
            }
            Err(RecvTimeoutError::Timeout) if left > LOOK => continue,
            Err(RecvTimeoutError::Timeout) => {
                (ErrorKind::Unavailable, format!("there was no answer for {} s", limit.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => (ErrorKind::Internal, "its thread panicked".to_owned()),
        };
        return Err(ConnectorError::new(kind, format!("could not {what}: {reason}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_an_answer_ends() {
        let failing = Failing::default();
        assert_eq!(within(Duration::from_mins(1), "count", &failing, || 7).unwrap(), 7);
        let hangs = || threads::pause(Duration::from_mins(10));
        let error = within(Duration::from_millis(10), "write to \"t\"", &failing, hangs).unwrap_err().to_string();
        assert_eq!(error, "could not write to \"t\": there was no answer for 0 s");
    }
}
