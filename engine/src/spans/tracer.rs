//! The tracer of a job: it puts spans into a queue of bounded length. Nothing that a collector does can make it wait.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::ids::Context;
use super::span::{Kind, Span, Value};
use crate::clock::Clock;
use crate::record::Arrival;

/// The spans of a process, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct SpanCounts {
    /// The collector has taken them.
    pub(crate) exported: AtomicU64,
    /// The queue was full, or the job ended first.
    pub(crate) dropped: AtomicU64,
    /// The collector has refused them, or was not there.
    pub(crate) failed: AtomicU64,
}

/// What the queue of a tracer has.
#[derive(Debug)]
pub(crate) enum Recorded {
    Span(Box<Span>),
    /// Whoever waits for spans should look whether the job has ended.
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "it is for the exporter"))]
    Wake,
}

/// The tracer of a job in one process.
pub(crate) struct Tracer {
    clock: Clock,
    /// A number that no other process has.
    seed: u64,
    /// The incarnation of the leading process, which all processes know before the first epoch.
    run: OnceLock<u64>,
    /// The share of epochs that are recorded.
    share: f64,
    /// Number of spans so far.
    spans: AtomicU64,
    queue: Sender<Recorded>,
    counts: Arc<SpanCounts>,
}

impl Tracer {
    #[cfg_attr(not(any(test, feature = "otlp")), expect(dead_code, reason = "the exporter makes it"))]
    pub(crate) fn new(clock: Clock, seed: u64, share: f64, queue: Sender<Recorded>, counts: Arc<SpanCounts>) -> Self {
        Self { clock, seed, run: OnceLock::new(), share, spans: AtomicU64::new(0), queue, counts }
    }

    /// Sets the incarnation of the leading process, of which the ids of traces are made.
    pub(crate) fn begin(&self, run: u64) {
        self.run.get_or_init(|| run);
    }

    /// Returns the root of the trace of an epoch; `None` if it is not recorded.
    pub(crate) fn epoch(&self, epoch: u64) -> Option<Context> {
        let root = Context::of_epoch(*self.run.get()?, epoch);
        root.is_within(self.share).then_some(root)
    }

    pub(crate) fn counts(&self) -> &SpanCounts {
        &self.counts
    }

    pub(crate) fn now(&self) -> Arrival {
        self.clock.now()
    }

    /// Returns a name for a new span of the trace of `parent`.
    pub(crate) fn child(&self, parent: Context) -> Context {
        parent.child(self.seed, self.spans.fetch_add(1, Ordering::Relaxed))
    }

    /// Records a part of an epoch that ends now and took `took`.
    pub(crate) fn part(
        &self,
        epoch: u64,
        (name, kind): (impl Into<Cow<'static, str>>, Kind),
        took: Duration,
        attributes: Vec<(&'static str, Value)>,
        error: Option<String>,
    ) {
        let Some(root) = self.epoch(epoch) else { return };
        let ended = self.now();
        let began = Arrival(ended.0.saturating_sub(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)));
        let (context, name) = (self.child(root), name.into());
        self.record(Span { context, parent: Some(root.span), name, kind, began, ended, attributes, error });
    }

    /// Puts a span that has ended into the queue. If the queue is full, the span is dropped and counted.
    pub(crate) fn record(&self, span: Span) {
        if self.queue.try_send(Recorded::Span(Box::new(span))).is_err()
            && self.counts.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!("a span is dropped because too many wait for the collector; further ones are only counted");
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_an_epoch_has_no_trace_before_the_run_is_known() {
        let (queue, spans) = crossbeam_channel::bounded(2);
        let counts = Arc::new(SpanCounts::default());
        let tracer = Tracer::new(Clock::manual(Arrival(5_000)), 1, 1.0, queue, Arc::clone(&counts));
        let part = || tracer.part(3, ("write", Kind::Internal), Duration::from_millis(2), Vec::new(), None);
        part();
        assert!(spans.is_empty(), "nobody knows the trace yet");
        tracer.begin(9);
        (0..5).for_each(|_| part());
        assert_eq!((spans.len(), counts.dropped.load(Ordering::Relaxed)), (2, 3));
        let Ok(Recorded::Span(span)) = spans.recv() else { panic!("no span") };
        assert_eq!((span.began, span.ended), (Arrival(3_000), Arrival(5_000)));
        let root = Context::of_epoch(9, 3);
        assert_eq!((span.context.trace, span.parent), (root.trace, Some(root.span)));
    }
}
