//! Thread pools beside the worker, for work that takes long or waits, such as models and lookups: settings and retries.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};
use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::Counter;
use tidemill_engine::shell::{BatchRunner, Execution, PoolSpec};
use tidemill_engine::threads;

/// Settings of a pool of threads beside each worker. Each thread has a model session or client of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// Number of threads for each worker. Default: 2.
    pub threads: NonZeroUsize,
    /// Maximum number of batches that the threads of a worker have at a time. Default: two for each thread. Further
    /// records wait, and count towards the job's `max_in_flight`, so that sources wait, too.
    pub max_in_flight: Option<NonZeroUsize>,
    /// Whether results are emitted in the order in which their records came, or as they become ready. Default: in
    /// order.
    pub ordered: bool,
    /// Maximum time that a thread may take for a batch, including retries. After that the thread is abandoned, another
    /// one takes its place, and the records of the batch count as failed. It must be above 0. Default: none, so a
    /// thread may take any time.
    #[serde(with = "humantime_serde")]
    pub deadline: Option<Duration>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN.saturating_add(1), max_in_flight: None, ordered: true, deadline: None }
    }
}

impl PoolSettings {
    /// Returns the execution on these threads. The first thread runs `first`. `open` makes the runner of each other
    /// thread, and of a thread that replaces a lost one; `ready` prepares the runners of the other threads before the
    /// job begins.
    pub(crate) fn execution<W, R: BatchRunner<W>, E>(
        &self,
        first: R,
        open: impl Fn() -> R + Send + Sync + 'static,
        ready: impl Fn(R) -> Result<R, E>,
    ) -> Result<Execution<W>, E> {
        let mut runners: Vec<Box<dyn BatchRunner<W>>> = vec![Box::new(first)];
        for _ in 1..self.threads.get() {
            runners.push(Box::new(ready(open())?));
        }
        Ok(Execution::Pool(PoolSpec {
            max_in_flight: self.max_in_flight.map_or(runners.len() * 2, NonZeroUsize::get),
            runners,
            open: Arc::new(move || Box::new(open())),
            ordered: self.ordered,
            deadline: self.deadline,
        }))
    }
}

/// The number of retries of an attempt, and the pauses between them.
#[derive(Clone, Debug)]
pub(crate) struct Retries {
    times: u32,
    backoff: Duration,
    /// Counter of the tries after the first.
    retried: Counter,
}

impl Retries {
    const LONGEST: Duration = Duration::from_secs(10);

    /// Returns retries of up to `times` more tries. The first comes after `backoff`, and the pause doubles before each
    /// further one.
    pub(crate) fn new(times: u32, backoff: Duration, retried: Counter) -> Self {
        Self { times, backoff, retried }
    }

    /// Calls `attempt` until it succeeds, has been retried as often as allowed, or fails with an error for which
    /// `again` is false. It blocks during pauses, so it is for threads of a pool only. There is no jitter, so that a
    /// simulation is repeatable.
    pub(crate) fn run<T, E>(
        &self,
        attempt: impl FnMut() -> Result<T, E>,
        again: impl FnMut(&E) -> bool,
    ) -> Result<T, E> {
        let pauses = ExponentialBuilder::default().with_min_delay(self.backoff).with_max_delay(Self::LONGEST);
        attempt
            .retry(pauses.with_max_times(self.times as usize))
            .sleep(threads::pause)
            .when(again)
            .notify(|_, _| self.retried.add(1))
            .call()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_as_often_as_said_and_only_for_what_may_get_better() {
        let tries = |times: u32, error: &'static str| {
            let (retried, mut tried) = (Counter::default(), 0);
            let retries = Retries::new(times, Duration::from_micros(1), retried.clone());
            let result: Result<(), &str> = retries.run(
                || {
                    tried += 1;
                    if tried == 3 { Ok(()) } else { Err(error) }
                },
                |error| *error == "busy",
            );
            (result, tried, retried.get())
        };
        assert_eq!(tries(5, "busy"), (Ok(()), 3, 2));
        assert_eq!(tries(1, "busy"), (Err("busy"), 2, 1));
        assert_eq!(tries(0, "busy"), (Err("busy"), 1, 0));
        assert_eq!(tries(5, "wrong"), (Err("wrong"), 1, 0));
    }
}
