//! What flows: records with their event time, and dead letters for what could not be used.

use std::fmt::Debug;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::time::EventTime;

/// What a stream can carry: owned, sendable between threads, serialisable between processes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot flow through a stream",
    note = "records are cloned, sent between workers and kept in checkpoints: derive Clone, Debug, Serialize, Deserialize"
)]
pub trait Data: Clone + Debug + Send + Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Debug + Send + Serialize + DeserializeOwned + 'static> Data for T {}

/// When a record came into the job: microseconds since the Unix epoch, UTC, by the job's clock.
///
/// It travels with the record and with what is derived from it, so that a sink can tell how long the
/// answer took. Results do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Arrival(pub u64);

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<D> {
    /// When it happened.
    pub event_time: EventTime,
    /// When it came into the job.
    pub arrival: Arrival,
    /// What happened.
    pub data: D,
}

impl<D> Record<D> {
    /// The same record with other data.
    pub fn with<E>(self, f: impl FnOnce(D) -> E) -> Record<E> {
        Record { event_time: self.event_time, arrival: self.arrival, data: f(self.data) }
    }
}

/// What could not be used, and why. Each one is counted; a job can write them to a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The operator or source that gave up on it.
    pub operator: String,
    /// Where it came from, as exactly as is known: `file.csv:17`, `topic/3@1042`.
    pub origin: String,
    /// Why it could not be used.
    pub reason: String,
    /// What it was: the line or the record's `Debug` form, cut at 4 KiB.
    pub content: String,
}

impl DeadLetter {
    const CONTENT_LIMIT: usize = 4096;

    /// A dead letter; `content` beyond 4 KiB is cut off, bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn new(operator: &str, origin: String, reason: String, content: &[u8]) -> Self {
        let cut = content.get(..Self::CONTENT_LIMIT).unwrap_or(content);
        let content = String::from_utf8_lossy(cut).into_owned();
        Self { operator: operator.to_owned(), origin, reason, content }
    }
}
