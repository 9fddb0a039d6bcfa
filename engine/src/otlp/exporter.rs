//! The thread that sends spans. It alone waits for the collector.
//!
//! ```text
//! workers, pools ─▶ queue (bounded; full: dropped, counted) ─▶ batch ─▶ POST /v1/traces ─▶ taken, refused, or again later
//! ```
//! When the job ends, what waits is sent within [`GRACE`]; the rest is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::client::{Client, Sent};
use super::encode::request;
use super::environment::OtlpSettings;
use crate::clock::Clock;
use crate::error::JobError;
use crate::spans::{Recorded, Span, SpanCounts, Tracer, Value};
use crate::threads;

/// How long the end of a job may wait for its last spans.
const GRACE: Duration = Duration::from_secs(1);
/// How much later than that the thread may say that it has ended.
const SLACK: Duration = Duration::from_millis(200);
/// How long to wait before a request is tried again; doubled for each further try.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Number of times that a request is tried.
const TRIES: u32 = 5;
/// How long the thread sleeps while there are no spans.
const IDLE: Duration = Duration::from_secs(3600);

/// The thread that sends the spans of a job, and what records them.
pub(crate) struct Exporter {
    tracer: Arc<Tracer>,
    queue: Sender<Recorded>,
    /// Dropping it asks the thread to end.
    running: Sender<()>,
    ended: Receiver<()>,
}

impl Exporter {
    /// Starts the thread. `incarnation` is one that no other process has.
    ///
    /// # Errors
    /// When the operating system cannot start another thread.
    pub(crate) fn start(settings: OtlpSettings, clock: Clock, incarnation: u64) -> Result<Self, JobError> {
        let (queue, spans) = crossbeam_channel::bounded(settings.queue);
        let (running, stop) = crossbeam_channel::bounded(0);
        let (end, ended) = crossbeam_channel::bounded(0);
        let counts = Arc::new(SpanCounts::default());
        let tracer = Tracer::new(clock, incarnation, settings.share, queue.clone(), Arc::clone(&counts));
        let instance = ("service.instance.id".to_owned(), Value::from(format!("{incarnation:016x}")));
        let resource = settings.resource.iter().cloned().chain([instance]).collect();
        let client = Client::new(&settings);
        let mut sending =
            Sending { client, resource, settings, spans, stop, counts: Arc::clone(&counts), fails: false };
        let send = move || {
            let _end = end;
            sending.run();
        };
        let failed = |source| JobError::Io { what: "start the thread that sends spans".to_owned(), source };
        threads::spawn("spans".to_owned(), send).map_err(failed)?;
        Ok(Self { tracer: Arc::new(tracer), queue, running, ended })
    }

    pub(crate) fn tracer(&self) -> Arc<Tracer> {
        Arc::clone(&self.tracer)
    }

    /// Sends what waits, within [`GRACE`]. A thread that the collector holds for longer is left alone, and ends when its
    /// request does.
    pub(crate) fn end(self) {
        let Self { tracer, queue, running, ended } = self;
        let counts = tracer.counts();
        drop(running);
        // If the queue is full, the thread does not wait for it.
        drop(queue.try_send(Recorded::Wake));
        let in_time = ended.recv_timeout(GRACE + SLACK) != Err(RecvTimeoutError::Timeout);
        let [exported, dropped, failed] =
            [&counts.exported, &counts.dropped, &counts.failed].map(|count| count.load(Ordering::Relaxed));
        if dropped + failed > 0 || !in_time {
            tracing::warn!(exported, dropped, failed, in_time, "not all spans have reached the collector");
        }
    }
}

struct Sending {
    client: Client,
    resource: Vec<(String, Value)>,
    settings: OtlpSettings,
    spans: Receiver<Recorded>,
    stop: Receiver<()>,
    counts: Arc<SpanCounts>,
    /// Whether the last request has failed, which was logged.
    fails: bool,
}

impl Sending {
    fn run(&mut self) {
        let (mut batch, mut due) = (Vec::new(), None);
        while !self.is_over() {
            let wait = due.map_or(IDLE, |due: Instant| due.saturating_duration_since(threads::now()));
            match self.spans.recv_timeout(wait) {
                Ok(Recorded::Span(span)) => {
                    due = due.or_else(|| threads::now().checked_add(self.settings.delay));
                    batch.push(*span);
                }
                Ok(Recorded::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if batch.len() >= self.settings.batch || due.is_some_and(|due| due <= threads::now()) {
                self.send(std::mem::take(&mut batch), None);
                due = None;
            }
        }
        let deadline = threads::now() + GRACE;
        loop {
            let room = self.settings.batch.saturating_sub(batch.len());
            let spans = self.spans.try_iter().take(room);
            batch.extend(spans.filter_map(|recorded| match recorded {
                Recorded::Span(span) => Some(*span),
                Recorded::Wake => None,
            }));
            if batch.is_empty() && self.spans.is_empty() {
                break;
            }
            self.send(std::mem::take(&mut batch), Some(deadline));
        }
    }

    /// Returns whether the job has ended.
    fn is_over(&self) -> bool {
        self.stop.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Sends a batch, and counts what becomes of its spans. After `deadline` nothing is sent any more.
    fn send(&mut self, batch: Vec<Span>, deadline: Option<Instant>) {
        if batch.is_empty() {
            return;
        }
        let (spans, body) = (batch.len() as u64, request(&self.resource, &batch));
        let mut wait = FIRST_WAIT;
        for tries in 1..=TRIES {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(threads::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.counts.dropped.fetch_add(spans, Ordering::Relaxed);
                return;
            }
            let timeout = left.map_or(self.settings.timeout, |left| left.min(self.settings.timeout));
            match self.client.send(&body, timeout) {
                Sent::Taken { rejected, why } => {
                    let rejected = rejected.min(spans);
                    self.counts.exported.fetch_add(spans - rejected, Ordering::Relaxed);
                    self.counts.failed.fetch_add(rejected, Ordering::Relaxed);
                    self.note((rejected > 0).then_some(why));
                    return;
                }
                Sent::Refused { why } => {
                    self.note(Some(why));
                    break;
                }
                Sent::Later { why, after } => {
                    self.note(Some(why));
                    // At the end there is no time for another try.
                    let now = deadline.is_some()
                        || self.stop.recv_timeout(after.unwrap_or(wait)) != Err(RecvTimeoutError::Timeout);
                    if now || tries == TRIES {
                        break;
                    }
                    wait *= 2;
                }
            }
        }
        self.counts.failed.fetch_add(spans, Ordering::Relaxed);
    }

    /// Logs that the collector fails, or that it is back.
    fn note(&mut self, fault: Option<String>) {
        let url = self.client.url();
        match (fault, self.fails) {
            (Some(error), false) => tracing::warn!(
                %url, %error,
                "spans cannot be sent, and the job goes on: is a collector there that takes OTLP over HTTP (usually at port 4318)?"
            ),
            (None, true) => tracing::info!(%url, "the collector takes spans again"),
            (Some(_), true) | (None, false) => return,
        }
        self.fails = !self.fails;
    }
}
