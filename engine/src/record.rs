//! Records with their event time, and dead letters for input that could not be used.

use std::fmt::Debug;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::time::EventTime;

/// A type that a stream can carry: owned, sendable between threads, serialisable between processes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot flow through a stream",
    note = "records are cloned, sent between workers and kept in checkpoints: derive Clone, Debug, Serialize, Deserialize"
)]
pub trait Data: Clone + Debug + Send + Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Debug + Send + Serialize + DeserializeOwned + 'static> Data for T {}

/// The time at which a record came into the job: microseconds since the Unix epoch, UTC, by the job's clock.
///
/// It travels with the record and with every record derived from it, so that a sink can measure the
/// latency. Results do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Arrival(pub u64);

/// A record of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<D> {
    /// The time at which it happened.
    pub event_time: EventTime,
    /// The time at which it came into the job.
    pub arrival: Arrival,
    /// The payload: what happened.
    pub data: D,
}

impl<D> Record<D> {
    /// Returns the same record with its data replaced by `f` of it.
    pub fn with<E>(self, f: impl FnOnce(D) -> E) -> Record<E> {
        Record { event_time: self.event_time, arrival: self.arrival, data: f(self.data) }
    }
}

/// A piece of input that could not be used, and the reason. Each dead letter is counted; a job can write them to a
/// sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The operator or source that could not use it.
    pub operator: String,
    /// The place it came from, as exactly as is known: `file.csv:17`, `topic/3@1042`.
    pub origin: String,
    /// The reason why it could not be used.
    pub reason: String,
    /// The content: the line or the record's `Debug` form, cut at 4 KiB.
    pub content: String,
}

impl DeadLetter {
    const CONTENT_LIMIT: usize = 4096;

    /// Makes a dead letter. `content` beyond 4 KiB is cut off, and bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn new(operator: &str, origin: String, reason: String, content: &[u8]) -> Self {
        let cut = content.get(..Self::CONTENT_LIMIT).unwrap_or(content);
        let content = String::from_utf8_lossy(cut).into_owned();
        Self { operator: operator.to_owned(), origin, reason, content }
    }
}
