//! The publishing of one worker's output: attempts until one succeeds, or patience ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tidemill_engine::sink::Failing;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash, threads};

use super::deadline::within;
use super::target::{Failure, Outbox, Published, Target};

/// The first pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Makes attempts until one succeeds, one is hopeless, there was no success for `patience`, or the job has failed. `what`
/// is what is attempted.
pub(crate) fn retried<R>(
    patience: Duration,
    what: &str,
    failing: &Failing,
    mut attempt: impl FnMut(Duration) -> Result<R, Failure>,
) -> Result<R, ConnectorError> {
    let give_up = threads::now() + patience;
    let left = || give_up.saturating_duration_since(threads::now());
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
    let mut pauses = pauses.with_jitter().without_max_times().build();
    loop {
        let error = match attempt(left()) {
            Ok(result) => return Ok(result),
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Retry(error)) => error,
        };
        if failing.is_set() {
            return Err(error);
        }
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        if left() <= pause {
            let message = format!("could not {what} for {} s, and gave up", patience.as_secs());
            return Err(ConnectorError::caused(ErrorKind::Unavailable, message, error));
        }
        tracing::warn!(error = %with_cause(&error), pause_ms = pause.as_millis(), "could not {what}; it is tried again");
        threads::pause(pause);
    }
}

fn with_cause(error: &ConnectorError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The publisher of one worker.
pub(crate) struct Publisher<T: Target> {
    target: Arc<T>,
    outbox: Outbox,
    patience: Duration,
    failing: Failing,
    /// The connection of the last attempt, if it still works.
    connection: Mutex<Option<T::Connection>>,
}

impl<T: Target> Publisher<T> {
    pub(crate) fn new(target: Arc<T>, outbox: Outbox, patience: Duration, failing: Failing) -> Self {
        Self { target, outbox, patience, failing, connection: Mutex::new(None) }
    }

    /// Publishes the rows of an epoch, unless they are published already.
    pub(crate) fn publish(&self, incarnation: u64, epoch: Epoch, rows: &Arc<Vec<u8>>) -> Result<(), ConnectorError> {
        let what = format!("publish epoch {epoch} to {}", self.target);
        let worker = self.outbox.worker;
        let published = retried(self.patience, &what, &self.failing, |left| {
            let kept = self.connection().take();
            let (target, outbox, rows) = (Arc::clone(&self.target), self.outbox.clone(), Arc::clone(rows));
            let attempt = move || {
                let mut connection = kept.map_or_else(|| target.connect(), Ok)?;
                crash::point("before-marker", epoch, worker);
                let published = target.publish(&mut connection, &outbox, incarnation, epoch, &rows)?;
                crash::point("after-commit", epoch, worker);
                Ok((connection, published))
            };
            let (connection, published) = within(left, &what, &self.failing, attempt).map_err(Failure::Retry)??;
            *self.connection() = Some(connection);
            Ok(published)
        })?;
        if published == Published::Before && !rows.is_empty() {
            tracing::info!(%epoch, worker, "an attempt whose answer did not arrive had published the epoch");
        }
        Ok(())
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<T::Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> ConnectorError {
        ConnectorError::new(ErrorKind::Unavailable, "the power is out")
    }

    #[test]
    fn attempts_are_made_until_one_succeeds_or_patience_ends() {
        let mut tries = 0;
        let failing = Failing::default();
        let third = retried(Duration::from_mins(5), "count", &failing, |_| {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err(Failure::Retry(failed())) }
        });
        assert_eq!(third.unwrap(), 3);
        let error = retried(Duration::from_millis(300), "count", &failing, |_| Err::<(), _>(Failure::Retry(failed())))
            .unwrap_err();
        assert!(error.to_string().starts_with("could not count for 0 s"), "{error}");
        let mut tries = 0;
        let hopeless = |_| {
            tries += 1;
            Err::<(), _>(Failure::Fatal(failed()))
        };
        assert_eq!(
            retried(Duration::from_mins(5), "count", &failing, hopeless).unwrap_err().to_string(),
            "the power is out"
        );
        assert_eq!(tries, 1);
    }
}
