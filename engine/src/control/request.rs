//! Requests to change operators, and what the processes tell each other of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_state::ControlEntry;

use crate::time::Epoch;

/// A request to change an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Identifier of the change.
    pub(crate) id: String,
    pub(crate) operator: String,
    /// The change as JSON; a text, because the messages between processes do not describe themselves.
    pub(crate) change: String,
    pub(crate) by: String,
    pub(crate) reason: String,
    /// Time of the request, in milliseconds since the Unix epoch.
    pub(crate) asked_ms: i64,
}

impl Request {
    /// Returns the change.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.change).unwrap_or_default()
    }

    /// Returns the entry of the log for a change that takes effect with `epoch`, if that is decided.
    pub(crate) fn entry(&self, epoch: Option<Epoch>) -> ControlEntry {
        let Self { id, operator, change: _, by, reason, asked_ms } = self.clone();
        ControlEntry { id, epoch: epoch.map(|epoch| epoch.0), operator, change: self.value(), by, reason, asked_ms }
    }
}

impl From<&ControlEntry> for Request {
    fn from(entry: &ControlEntry) -> Self {
        let ControlEntry { id, epoch: _, operator, change, by, reason, asked_ms } = entry.clone();
        Self { id, operator, change: change.to_string(), by, reason, asked_ms }
    }
}

/// What the leader tells a worker of each process, or of the leading one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// To the leading process: find out what a change means.
    Resolve(Request),
    /// Get ready for a change.
    Prepare(Request),
    /// A change takes effect with this epoch, which has not begun.
    Apply(Request, Epoch),
    /// A change that was asked for again has been in the log from this epoch on.
    Known { id: String, epoch: Epoch },
    /// A change is not made.
    Refused { request: Request, reason: String },
}

/// What a process tells the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// A change of an operator was asked for.
    Asked(Request),
    /// What a process has seen of an operator that decides on changes by itself.
    Seen { process: usize, operator: String, report: String },
    /// How far a process is with a change.
    Progress { process: usize, id: String, progress: Progress },
}

/// How far a process is with the change that is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// The change as it was resolved, or why that failed.
    Resolved(Result<String, String>),
    /// The process is ready for it, or why it is not.
    Prepared(Result<(), String>),
    /// The process has applied it.
    Applied,
}
