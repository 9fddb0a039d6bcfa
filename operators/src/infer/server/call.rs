//! The call that scores one batch: it is retried within its deadline, and limited by the circuit breaker and by the
//! maximum number of calls in flight.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use backon::{BackoffBuilder, ExponentialBuilder};
use crossbeam_channel::{Receiver, Sender, bounded};
use tidemill_engine::locks::lock;
use tidemill_engine::metrics::{Counter, Gauge, OperatorMetrics};

use super::breaker::{Admission, Breaker, Circuit};
use super::settings::{ServerErrors, ServerSettings};
use crate::infer::RunError;
use tidemill_engine::threads;

/// The way in which one attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// The server is healthy and rejects this batch.
    #[error("{0}")]
    Refused(String),
    /// The server answered that it failed.
    #[error("{0}")]
    Failed(String),
    /// There is no answer, or one that may be better after a retry.
    #[error("{0}")]
    Unavailable(String),
    /// The server does not know the call, or the model.
    #[error("{0}")]
    Unimplemented(String),
}

impl CallError {
    pub(super) fn late() -> Self {
        Self::Unavailable("the deadline passed".to_owned())
    }

    /// Returns a short name, the same for all failures of this kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Unavailable(_) => "unavailable",
            Self::Unimplemented(_) => "unimplemented",
        }
    }
}

impl From<crate::infer::wire::Malformed> for CallError {
    fn from(error: crate::infer::wire::Malformed) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The counts of all clients of one model so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// Number of batches to be scored.
    pub batches: u64,
    /// Number of calls made for these batches, including retries.
    pub calls: u64,
    /// Number of calls that failed.
    pub failed: u64,
    /// Number of batches that were not sent because the circuit was open.
    pub kept_back: u64,
    /// Number of times that the circuit opened.
    pub opened: u64,
    /// Number of times that the circuit closed again.
    pub closed: u64,
}

/// The same counts as metrics of an operator.
struct Meters {
    calls: Counter,
    failed: Counter,
    kept_back: Counter,
    opened: Counter,
    closed: Counter,
    open: Gauge,
}

/// The part that all clients of a model in this process share.
pub(super) struct Caller {
    settings: ServerSettings,
    /// The address, for messages.
    url: String,
    breaker: Mutex<(Breaker, ServerCounts)>,
    /// The metrics of the first worker whose operator asks for them. They count the calls of all workers.
    meters: OnceLock<Meters>,
    /// The permits for calls in flight, as many as the settings allow.
    permits: (Sender<()>, Receiver<()>),
}

impl Caller {
    pub(super) fn new(url: String, settings: ServerSettings) -> Self {
        let permits = bounded(settings.max_concurrent_calls.get());
        for () in std::iter::repeat_n((), settings.max_concurrent_calls.get()) {
            let _ = permits.0.try_send(());
        }
        let breaker = Mutex::new((Breaker::new(settings.circuit.clone()), ServerCounts::default()));
        Self { settings, url, breaker, meters: OnceLock::new(), permits }
    }

    pub(super) fn meter(&self, metrics: &OperatorMetrics) {
        self.meters.get_or_init(|| Meters {
            calls: metrics.counter("server_calls"),
            failed: metrics.counter("server_failures"),
            kept_back: metrics.counter("server_kept_back"),
            opened: metrics.counter("circuit_opened"),
            closed: metrics.counter("circuit_closed"),
            open: metrics.gauge("circuit_open"),
        });
    }

    fn count(&self, add: impl Fn(&Meters)) {
        self.meters.get().into_iter().for_each(add);
    }

    fn lock(&self) -> MutexGuard<'_, (Breaker, ServerCounts)> {
        lock(&self.breaker)
    }

    pub(super) fn state(&self) -> (Circuit, ServerCounts) {
        let locked = self.lock();
        (locked.0.circuit(), locked.1)
    }

    /// Repeats `call` until it succeeds, must not be retried, or the deadline passes.
    pub(super) fn run(&self, mut call: impl FnMut(Instant) -> Result<(), CallError>) -> Result<(), RunError> {
        let (started, settings) = (threads::now(), &self.settings);
        let deadline = started + settings.deadline;
        let waits = ExponentialBuilder::default().with_min_delay(settings.backoff).with_max_delay(settings.max_backoff);
        let mut waits = waits.with_jitter().with_max_times(settings.retries).build();
        self.lock().1.batches += 1;
        let mut tries = 0_u32;
        loop {
            let result = self.once(deadline, &mut call)?;
            tries += 1;
            let error = match result {
                Ok(()) => return Ok(()),
                Err(CallError::Refused(reason)) => return Err(RunError::Batch(reason)),
                Err(error) => error,
            };
            let again = waits
                .next()
                .filter(|wait| !matches!(error, CallError::Unimplemented(_)) && threads::now() + *wait < deadline);
            let Some(wait) = again else {
                let took = threads::since(started).as_millis();
                let text = format!("{}: {error} (tries: {tries}, in {took} ms)", self.url);
                return Err(match (error, settings.server_errors) {
                    (CallError::Failed(_), ServerErrors::Batch) => RunError::Batch(text),
                    _ => RunError::Unavailable(text),
                });
            };
            threads::pause(wait);
        }
    }

    /// Makes one attempt. Returns an error when no call was made.
    fn once(
        &self,
        deadline: Instant,
        call: &mut impl FnMut(Instant) -> Result<(), CallError>,
    ) -> Result<Result<(), CallError>, RunError> {
        let Ok(()) = self.permits.1.recv_deadline(deadline) else {
            let limit = self.settings.max_concurrent_calls;
            let text = format!("{}: {limit} calls were in flight until the deadline passed", self.url);
            return Err(RunError::Unavailable(text));
        };
        let permit = Permit(&self.permits.0);
        let admitted = self.admit()?;
        let result = call(deadline);
        let good = match &result {
            Ok(()) | Err(CallError::Refused(_)) => true,
            // The records are at fault: the result says nothing about the server.
            Err(CallError::Failed(_)) => self.settings.server_errors == ServerErrors::Batch,
            Err(CallError::Unavailable(_) | CallError::Unimplemented(_)) => false,
        };
        admitted.done(good, result.as_ref().err());
        drop(permit);
        Ok(result)
    }

    fn admit(&self) -> Result<Admitted<'_>, RunError> {
        let (breaker, counts) = &mut *self.lock();
        match breaker.admit(threads::now()) {
            Ok(admission) => {
                counts.calls += 1;
                self.count(|meters| meters.calls.add(1));
                Ok(Admitted { caller: self, admission: Some(admission) })
            }
            Err(left) => {
                counts.kept_back += 1;
                self.count(|meters| meters.kept_back.add(1));
                let when = if left.is_zero() {
                    "one call is in flight to probe the server".to_owned()
                } else {
                    format!("it is tried again in {} ms", left.as_millis() + 1)
                };
                Err(RunError::Unavailable(format!("{}: the circuit is open: {when}", self.url)))
            }
        }
    }
}

/// A permit for one call, which is returned when it is dropped.
struct Permit<'a>(&'a Sender<()>);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// A call in flight. A call that panics counts as failed: a probe that never reports would keep the circuit open.
struct Admitted<'a> {
    caller: &'a Caller,
    admission: Option<Admission>,
}

impl Admitted<'_> {
    fn done(mut self, good: bool, error: Option<&CallError>) {
        self.report(good, error);
    }

    fn report(&mut self, good: bool, error: Option<&CallError>) {
        let Some(admission) = self.admission.take() else { return };
        let (breaker, counts) = &mut *self.caller.lock();
        counts.failed += u64::from(!good);
        self.caller.count(|meters| meters.failed.add(u64::from(!good)));
        if !breaker.done(admission, threads::now(), good) {
            return;
        }
        let (url, error) = (&self.caller.url, error.map(ToString::to_string).unwrap_or_default());
        if breaker.circuit() == Circuit::Closed {
            counts.closed += 1;
            self.caller.count(|meters| {
                meters.closed.add(1);
                meters.open.set(0);
            });
            tracing::info!(%url, "the model server is back: the circuit is closed");
        } else {
            counts.opened += 1;
            self.caller.count(|meters| {
                meters.opened.add(1);
                meters.open.set(1);
            });
            tracing::warn!(%url, %error, "the model server fails: the circuit is open");
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.report(false, None);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use std::time::Duration;

    fn settings() -> ServerSettings {
        let backoff = Duration::from_millis(1);
        ServerSettings { deadline: Duration::from_secs(20), backoff, max_backoff: backoff, ..ServerSettings::default() }
    }

    fn caller(settings: ServerSettings) -> Caller {
        Caller::new("test".to_owned(), settings)
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_refused_is_not() {
        let caller = caller(ServerSettings { retries: 2, ..settings() });
        let mut answers = vec![Ok(()), Err(CallError::Failed("b".into())), Err(CallError::Unavailable("a".into()))];
        assert_eq!(caller.run(|_| answers.pop().unwrap()), Ok(()));
        assert_eq!(caller.state().1.calls, 3);
        let mut tries = 0;
        let refused = caller.run(|_| {
            tries += 1;
            Err(CallError::Refused("no".into()))
        });
        assert_eq!((refused, tries), (Err(RunError::Batch("no".into())), 1));
        let mut tries = 0;
        let failed = caller.run(|_| {
            tries += 1;
            Err(CallError::Failed("no".into()))
        });
        assert!(matches!(failed, Err(RunError::Unavailable(_))) && tries == 3, "{failed:?}, {tries}");
    }

    #[test]
    fn no_try_begins_that_would_begin_after_the_deadline() {
        let hour = Duration::from_secs(3600);
        let caller = caller(ServerSettings { backoff: hour, max_backoff: hour, ..settings() });
        let mut tries = 0;
        let late = caller.run(|_| {
            tries += 1;
            Err(CallError::late())
        });
        assert!(matches!(late, Err(RunError::Unavailable(_))) && tries == 1, "{late:?}, {tries}");
    }

    #[test]
    fn a_failure_that_the_records_are_blamed_for_does_not_open_the_circuit() {
        let settings = ServerSettings { server_errors: ServerErrors::Batch, retries: 0, ..settings() };
        let caller = caller(settings);
        for _ in 0..100 {
            let failed = caller.run(|_| Err(CallError::Failed("x".into())));
            assert!(matches!(failed, Err(RunError::Batch(_))));
        }
        assert_eq!(caller.state().0, Circuit::Closed);
    }

    #[test]
    fn an_open_circuit_makes_no_call_and_a_panic_counts_as_a_failure() {
        let mut settings = ServerSettings { retries: 0, ..settings() };
        settings.circuit.open_for = Duration::from_secs(3600);
        let failures = settings.circuit.failures;
        let caller = caller(settings);
        for _ in 0..failures {
            let call = std::panic::AssertUnwindSafe(|| caller.run(|_| panic!("a backend")));
            assert!(std::panic::catch_unwind(call).is_err());
        }
        let kept = caller.run(|_| panic!("it must not be called"));
        assert!(matches!(kept, Err(RunError::Unavailable(reason)) if reason.contains("circuit is open")));
        let (circuit, counts) = caller.state();
        assert_eq!((circuit, counts.opened, counts.kept_back), (Circuit::Open, 1, 1));
    }

    #[test]
    fn no_more_calls_than_allowed_are_under_way() {
        let max_concurrent_calls = NonZeroUsize::MIN.saturating_add(1);
        let caller = caller(ServerSettings { max_concurrent_calls, ..settings() });
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let done = caller.run(|_| {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            threads::pause(Duration::from_micros(200));
                            now.fetch_sub(1, Ordering::SeqCst);
                            Ok(())
                        });
                        assert_eq!(done, Ok(()));
                    }
                });
            }
        });
        assert_eq!((most.into_inner(), caller.state().1.calls), (2, 160));
    }
}
