//! What the source counts, beside what all sources do.

use tidemill_engine::metrics::{Counter, Gauge, OperatorMetrics};

use super::answer::{Reason, Refusal};

#[derive(Clone)]
pub(super) struct Counts {
    /// Requests that were answered with 200.
    pub(super) committed: Counter,
    /// The same, of requests that were known by their key.
    pub(super) repeated: Counter,
    refused: Counter,
    unauthorized: Counter,
    full: Counter,
    unanswered: Counter,
    /// Bytes of the bodies that were taken.
    pub(super) bytes: Counter,
    pub(super) waiting: Gauge,
    pub(super) queued_bytes: Gauge,
    pub(super) keys: Gauge,
}

impl Counts {
    pub(super) fn new(metrics: &OperatorMetrics) -> Self {
        Self {
            committed: metrics.counter("ingest_committed"),
            repeated: metrics.counter("ingest_repeated"),
            refused: metrics.counter("ingest_refused"),
            unauthorized: metrics.counter("ingest_unauthorized"),
            full: metrics.counter("ingest_full"),
            unanswered: metrics.counter("ingest_unanswered"),
            bytes: metrics.counter("ingest_bytes"),
            waiting: metrics.gauge("ingest_waiting"),
            queued_bytes: metrics.gauge("ingest_queued_bytes"),
            keys: metrics.gauge("ingest_keys"),
        }
    }

    pub(super) fn count(&self, refusal: &Refusal) {
        let counter = match refusal.reason {
            Reason::Caller if refusal.status == hyper::StatusCode::UNAUTHORIZED => &self.unauthorized,
            Reason::Caller => &self.refused,
            Reason::Full => &self.full,
            Reason::Unanswered => &self.unanswered,
        };
        counter.add(1);
    }
}
