//! What becomes of changes, for a stream that people or other systems look at.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_state::ControlEntry;

use super::described;

/// What became of a change that was asked for: it is made, or it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEvent {
    /// Identifier of the change.
    pub id: String,
    /// Name of the operator.
    pub operator: String,
    /// The change, with names resolved if it is made.
    #[serde(with = "described")]
    pub change: Value,
    /// Who asked for it.
    pub by: String,
    /// The reason; of a decision of a rollout, with the numbers that it rests on.
    pub reason: String,
    /// Time of the request, in milliseconds since the Unix epoch.
    pub asked_ms: i64,
    /// The epoch from which on it is in effect; none if it was refused.
    pub epoch: Option<u64>,
    /// Why it was refused.
    pub error: Option<String>,
}

impl From<ControlEntry> for ChangeEvent {
    fn from(entry: ControlEntry) -> Self {
        let ControlEntry { id, epoch, operator, change, by, reason, asked_ms } = entry;
        Self { id, operator, change, by, reason, asked_ms, epoch, error: None }
    }
}
