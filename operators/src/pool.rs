//! Threads beside the worker, for what waits: models, lookups. Their settings, and how they try again.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};
use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::Counter;
use tidemill_engine::shell::{BatchRunner, Execution, PoolSpec};
use tidemill_engine::threads;

/// Threads beside each worker, each with a model session or client of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// How many for each worker; default 2.
    pub threads: NonZeroUsize,
    /// Batches that are with the threads at a time; default two for each thread. Records beyond that wait, and
    /// count for the job's `max_in_flight`: sources wait with them.
    pub max_in_flight: Option<NonZeroUsize>,
    /// Whether results leave in the order their records came (default), or as they are ready.
    pub ordered: bool,
    /// How long a thread may take for a batch, retries and all. After that the thread is given up and another one
    /// takes its place; its records go on as failed. Without one a thread may take for ever.
    #[serde(with = "humantime_serde")]
    pub deadline: Option<Duration>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN.saturating_add(1), max_in_flight: None, ordered: true, deadline: None }
    }
}

impl PoolSettings {
    /// These threads, `first` with the first of them. `open` makes what each of the others runs, and what a thread runs
    /// that takes the place of a lost one; `ready` gets it ready before the job begins.
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

/// How often to try again, and after how long.
#[derive(Clone, Debug)]
pub(crate) struct Retries {
    times: u32,
    backoff: Duration,
    /// Tries beyond the first.
    retried: Counter,
}

impl Retries {
    const LONGEST: Duration = Duration::from_secs(10);

    /// `times` more, the first after `backoff`, twice as long before each further one.
    pub(crate) fn new(times: u32, backoff: Duration, retried: Counter) -> Self {
        Self { times, backoff, retried }
    }

    /// Tries until it works, or fails with what another try does not better. It waits where it is: for threads only. No
    /// jitter: a simulation shall repeat itself.
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
