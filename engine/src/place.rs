//! Where a thread is: the job, the worker and the operator that it runs, which the lines of its log name.
//!
//! Workers say it, operators for each of their turns, and a thread that is started begins where the one is that
//! starts it. The command line's log appends it to each line (`cli/log`).

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

#[cfg(feature = "cli")]
use serde_json::json;

use crate::locks::lock;
use crate::spans::Tracer;
#[cfg(feature = "cli")]
use crate::spans::current;

/// A job that runs in this process.
#[derive(Debug)]
pub(crate) struct PlaceOfJob {
    pub(crate) name: String,
    /// The epoch that the job's sources are in.
    pub(crate) running_epoch: Arc<AtomicU64>,
    /// How long a turn of an operator, or a batch, may take before it is logged; `None`: any time.
    pub(crate) slow_batch: Option<Duration>,
    /// Records spans, if the job sends them to a collector.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// Where a thread is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    job: Option<Arc<PlaceOfJob>>,
    /// Index of the worker among all workers of the job.
    pub(crate) worker: Option<usize>,
    pub(crate) operator: Option<Arc<str>>,
}

thread_local! {
    static HERE: RefCell<Place> = RefCell::default();
}

/// The job that this process began last: that of threads which others started, such as those of librdkafka.
static NEWEST: Mutex<Weak<PlaceOfJob>> = Mutex::new(Weak::new());

impl Place {
    /// Returns where the calling thread is.
    pub(crate) fn here() -> Self {
        HERE.with_borrow(Clone::clone)
    }

    /// Returns what records the spans of the calling thread, and the epoch that the job's sources are in; `None` if the
    /// job records none.
    pub(crate) fn tracer_here() -> Option<(Arc<Tracer>, Option<u64>)> {
        HERE.with_borrow(|here| here.job.as_ref().and_then(|job| Some((Arc::clone(job.tracer.as_ref()?), job.epoch()))))
    }

    /// Returns the place of a worker of the same job.
    pub(crate) fn of_worker(self, worker: usize) -> Self {
        Self { worker: Some(worker), operator: None, ..self }
    }

    /// Puts the calling thread here, until the returned guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        Entered { before: HERE.replace(self) }
    }

    /// Returns what a line of the log says of the place.
    #[cfg(feature = "cli")]
    pub(crate) fn said(self) -> impl Iterator<Item = (&'static str, serde_json::Value)> {
        let job = self.job.or_else(|| lock(&NEWEST).upgrade());
        let epoch = job.as_ref().and_then(|job| job.epoch());
        let root = || job.as_ref()?.tracer.as_ref()?.epoch(epoch?);
        let span = current().or_else(root);
        [
            ("job", job.as_ref().map(|job| json!(job.name))),
            ("worker", self.worker.map(|worker| json!(worker))),
            ("operator", self.operator.map(|operator| json!(*operator))),
            ("epoch", epoch.map(|epoch| json!(epoch))),
            ("trace_id", span.map(|span| json!(format!("{:032x}", span.trace)))),
            ("span_id", span.map(|span| json!(format!("{:016x}", span.span)))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl PlaceOfJob {
    /// Puts the calling thread into this job, until the returned guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        let job = Arc::new(self);
        *lock(&NEWEST) = Arc::downgrade(&job);
        Place { job: Some(job), ..Place::default() }.enter()
    }

    /// Returns the epoch that the job's sources are in; `None` before the first.
    pub(crate) fn epoch(&self) -> Option<u64> {
        Some(self.running_epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch > 0)
    }
}

/// Brings the calling thread back to where it was before, when it is dropped.
#[must_use]
pub(crate) struct Entered {
    before: Place,
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(std::mem::take(&mut self.before));
    }
}

/// Brings the calling thread back to the operator where it was before, when it is dropped.
#[must_use]
pub(crate) struct AtOperator {
    before: Option<Arc<str>>,
}

impl AtOperator {
    /// Puts the calling thread at `operator`, until the returned guard is dropped.
    pub(crate) fn enter(operator: &Arc<str>) -> Self {
        Self { before: HERE.with_borrow_mut(|here| here.operator.replace(Arc::clone(operator))) }
    }
}

impl Drop for AtOperator {
    fn drop(&mut self) {
        let before = self.before.take();
        HERE.with_borrow_mut(|here| here.operator = before);
    }
}

/// Returns how long a turn or a batch on this thread may take before it is logged.
pub(crate) fn slow_batch() -> Option<Duration> {
    HERE.with_borrow(|here| here.job.as_ref().and_then(|job| job.slow_batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads;

    fn job(name: &str) -> PlaceOfJob {
        PlaceOfJob { name: name.to_owned(), running_epoch: Arc::default(), slow_batch: None, tracer: None }
    }

    fn said(place: &Place) -> (Option<String>, Option<usize>, Option<String>) {
        (place.job.as_ref().map(|job| job.name.clone()), place.worker, place.operator.as_deref().map(str::to_owned))
    }

    #[test]
    fn a_thread_is_where_it_was_once_the_guard_is_gone() {
        let all = job("fraud").enter();
        let worker = Place::here().of_worker(1).enter();
        let (outer, inner): (Arc<str>, Arc<str>) = ("features".into(), "sink".into());
        let turn = AtOperator::enter(&outer);
        drop(AtOperator::enter(&inner));
        assert_eq!(said(&Place::here()), (Some("fraud".to_owned()), Some(1), Some("features".to_owned())));
        drop(turn);
        assert_eq!(said(&Place::here()), (Some("fraud".to_owned()), Some(1), None));
        drop(worker);
        assert_eq!(said(&Place::here()), (Some("fraud".to_owned()), None, None));
        drop(all);
        assert_eq!(said(&Place::here()), (None, None, None));
    }

    #[test]
    fn a_thread_begins_where_it_was_started() {
        let _job = job("fraud").enter();
        let _worker = Place::here().of_worker(3).enter();
        let _turn = AtOperator::enter(&"score".into());
        let there = threads::spawn("pool".to_owned(), Place::here).unwrap().join().unwrap();
        assert_eq!(said(&there), (Some("fraud".to_owned()), Some(3), Some("score".to_owned())));
    }

    #[test]
    fn the_epoch_is_that_of_the_moment() {
        let epoch = Arc::new(AtomicU64::new(0));
        let job = PlaceOfJob { running_epoch: Arc::clone(&epoch), ..job("fraud") };
        assert_eq!(job.epoch(), None);
        epoch.store(7, Ordering::Relaxed);
        assert_eq!(job.epoch(), Some(7));
    }
}
