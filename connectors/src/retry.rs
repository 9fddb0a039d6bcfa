//! Attempts until one succeeds, or patience ends.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tidemill_engine::sink::Failing;
use tidemill_engine::{ConnectorError, ErrorKind, threads};

/// The reason why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may work later, with another connection. Whether anything was published shows the marker, where there is one.
    Retry(ConnectorError),
    /// The same, and the target has said after which time.
    #[cfg(feature = "webhook")]
    Later(ConnectorError, Duration),
    /// It will not work: the rows are refused, another run has taken over, or the user has to do something.
    Fatal(ConnectorError),
}

#[cfg(feature = "redis")]
impl Failure {
    /// Returns the error, for a caller that makes no other attempt.
    pub(crate) fn into_error(self) -> ConnectorError {
        match self {
            Self::Retry(error) | Self::Fatal(error) => error,
            #[cfg(feature = "webhook")]
            Self::Later(error, _) => error,
        }
    }
}

/// The first pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts, without the random part, unless the target asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked during a pause whether anybody still wants the result.
const LOOK: Duration = Duration::from_millis(200);

/// Makes attempts until one succeeds, one is hopeless, there was no success for `patience`, or the job has failed. `what`
/// is what is attempted.
pub(crate) fn retried<R>(
    patience: Duration,
    what: &str,
    failing: &Failing,
    attempt: impl FnMut(Duration) -> Result<R, Failure>,
) -> Result<R, ConnectorError> {
    retried_unless(|| failing.is_set(), patience, what, attempt)
}

/// Makes attempts as [`retried`] does, and no more of them once `stopped` is true.
pub(crate) fn retried_unless<R>(
    stopped: impl Fn() -> bool,
    patience: Duration,
    what: &str,
    mut attempt: impl FnMut(Duration) -> Result<R, Failure>,
) -> Result<R, ConnectorError> {
    let give_up = threads::now() + patience;
    let left = || give_up.saturating_duration_since(threads::now());
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
    let mut pauses = pauses.with_jitter().without_max_times().build();
    loop {
        let (error, asked) = match attempt(left()) {
            Ok(result) => return Ok(result),
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Retry(error)) => (error, Duration::ZERO),
            #[cfg(feature = "webhook")]
            Err(Failure::Later(error, asked)) => (error, asked),
        };
        if stopped() {
            return Err(error);
        }
        // A target that asks for more time than there is gets most of it, and is tried once more before patience ends.
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE).max(asked.min(left() / 4 * 3));
        if left() <= pause {
            let message = format!("could not {what} for {} s, and gave up", patience.as_secs());
            return Err(ConnectorError::caused(ErrorKind::Unavailable, message, error));
        }
        tracing::warn!(error = %with_cause(&error), pause_ms = pause.as_millis(), "could not {what}; it is tried again");
        pause_unless(&stopped, pause);
    }
}

/// Pauses, but not on once nobody wants the result any more.
fn pause_unless(stopped: &impl Fn() -> bool, pause: Duration) {
    let until = threads::now() + pause;
    loop {
        let left = until.saturating_duration_since(threads::now());
        if left.is_zero() || stopped() {
            return;
        }
        threads::pause(left.min(LOOK));
    }
}

fn with_cause(error: &ConnectorError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
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

    /// A target that wants to be left alone is, and one that wants more time than there is, is tried before patience ends.
    #[cfg(feature = "webhook")]
    #[test]
    fn the_time_that_a_target_asks_for_is_left_to_it() {
        let (failing, began) = (Failing::default(), threads::now());
        let mut tries = 0;
        let second = retried(Duration::from_mins(5), "count", &failing, |_| {
            tries += 1;
            if tries == 2 {
                Ok(threads::since(began))
            } else {
                Err(Failure::Later(failed(), Duration::from_millis(700)))
            }
        });
        let waited = second.unwrap();
        assert!(waited >= Duration::from_millis(700) && waited < Duration::from_mins(1), "{waited:?}");
        let mut tries = 0;
        let day = |_| {
            tries += 1;
            Err::<(), _>(Failure::Later(failed(), Duration::from_hours(24)))
        };
        assert!(retried(Duration::from_secs(1), "count", &failing, day).is_err());
        assert!(tries >= 2 && threads::since(began) < Duration::from_mins(1), "{tries}");
    }
}
