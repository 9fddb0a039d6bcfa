//! The tail of a stream: a sample of its records, filtered by a text.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::shown::Shown;
use crate::tap::{Sample, Tap};

/// The name under which dead letters are asked for.
const DEAD_LETTERS: &str = "dead-letters";

/// What somebody looks at.
pub(super) struct Watch {
    stream: String,
    filter: String,
    tap: Arc<Tap>,
    seen: u64,
    passed_over: u64,
}

/// A sample of a stream.
#[derive(Serialize, Deserialize)]
pub(super) struct Tail {
    stream: String,
    /// Number of records that passed meanwhile and are not in the sample.
    dropped: u64,
    records: Vec<Record>,
}

/// A record as text.
#[derive(Serialize, Deserialize)]
struct Record {
    time_ms: i64,
    /// Index of the process where it passed, where all processes are shown as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time_ms: Option<i64>,
    text: String,
    /// Of a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

impl Watch {
    /// Begins to look at a stream. Of an ordinary one there is only what somebody has looked at before.
    pub(super) fn of(shown: &Shown, stream: String, filter: String) -> Result<Self, Problem> {
        let taps = &shown.watched.process.taps;
        // A sink may have the same name; letters themselves have their reasons.
        let letters = (stream == DEAD_LETTERS).then(|| Arc::clone(&taps.dead_letters));
        let tap = letters.or_else(|| taps.find(&stream));
        let Some(tap) = tap else {
            let detail = format!("there is no stream \"{stream}\": it is the name of an operator, or {DEAD_LETTERS}");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        Ok(Self { stream, filter, tap, seen: 0, passed_over: 0 })
    }

    /// Returns what is new since the last call, and has the stream sampled for some more seconds.
    pub(super) fn look(&mut self) -> Tail {
        self.tap.listen();
        let (samples, seen) = self.tap.since(self.seen);
        self.seen = seen;
        let passed_over = self.tap.passed_over();
        let dropped = passed_over - std::mem::replace(&mut self.passed_over, passed_over);
        let records = samples.into_iter().map(Record::from).filter(|record| record.has(&self.filter)).collect();
        Tail { stream: self.stream.clone(), dropped, records }
    }
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.dropped == 0
    }

    /// Says of each record that it passed in a process.
    pub(super) fn of(mut self, process: usize) -> Self {
        self.records.iter_mut().for_each(|record| record.process = Some(process));
        self
    }

    /// Adds another process's sample. The newest `kept` records stay, in the order of their times.
    pub(super) fn add(&mut self, other: Self, kept: usize) {
        self.records.extend(other.records);
        self.records.sort_by_key(|record| record.time_ms);
        let superfluous = self.records.len().saturating_sub(kept);
        self.records.drain(..superfluous);
        self.dropped = self.dropped.saturating_add(other.dropped).saturating_add(superfluous as u64);
    }
}

impl Record {
    fn has(&self, filter: &str) -> bool {
        let others = [&self.reason, &self.operator, &self.origin];
        self.text.contains(filter) || others.into_iter().flatten().any(|text| text.contains(filter))
    }
}

impl From<Sample> for Record {
    fn from(Sample { time, event_time, text, letter }: Sample) -> Self {
        let (operator, origin, reason) = match letter {
            Some(letter) => (Some(letter.operator), Some(letter.origin), Some(letter.reason)),
            None => (None, None, None),
        };
        let event_time_ms = event_time.map(|time| time.0);
        Self { time_ms: time.0, process: None, event_time_ms, text, reason, operator, origin }
    }
}
