//! What becomes of changes, as a stream: for a sink that people or other systems look at.

use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_state::ControlEntry;

use super::described;
use crate::error::{ConnectorError, ErrorKind};
use crate::source::{Batch, Next, Source, SourceContext, SourceReader};
use crate::time::EventTime;

/// Time between two looks whether something was decided.
const LOOK: Duration = Duration::from_millis(50);
/// First byte of a position, before the number of entries of the log that were handed out.
const VERSION: u8 = 1;

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

/// The changes of a job.
pub(crate) struct ChangeEvents {
    /// What comes; none on workers that hand out nothing.
    pub(crate) events: Option<Receiver<ChangeEvent>>,
    /// The log of the restored checkpoint.
    pub(crate) log: Vec<ControlEntry>,
}

impl Source for ChangeEvents {
    type Item = ChangeEvent;
    type Reader = Option<Reader>;

    fn open(&self, context: SourceContext) -> Result<Option<Reader>, ConnectorError> {
        let Some(events) = self.events.clone() else { return Ok(None) };
        let handed = context.restored.iter().try_fold(0, |most, position| read_position(position).map(|n| most.max(n)));
        let handed = handed.ok_or_else(|| ConnectorError::new(ErrorKind::Invalid, "its position cannot be read"))?;
        let decided = self.log.iter().filter(|entry| entry.epoch.is_some()).cloned();
        let later = decided.skip(usize::try_from(handed).unwrap_or(usize::MAX)).map(ChangeEvent::from).collect();
        Ok(Some(Reader { later, events, handed }))
    }
}

/// Hands out first what the log of the restored checkpoint has and no checkpoint has handed out, and then what comes.
pub(crate) struct Reader {
    later: Vec<ChangeEvent>,
    events: Receiver<ChangeEvent>,
    /// Number of entries of the log that were handed out. Changes that were refused are not in the log.
    handed: u64,
}

impl SourceReader for Option<Reader> {
    type Item = ChangeEvent;

    fn read(&mut self, batch: &mut Batch<ChangeEvent>) -> Result<Next, ConnectorError> {
        if let Some(Reader { later, events, handed }) = self {
            for event in later.drain(..).chain(events.try_iter()) {
                *handed += u64::from(event.epoch.is_some());
                batch.push(EventTime(event.asked_ms), event);
            }
        }
        // Nobody waits for the event time of a change.
        batch.mark_idle();
        Ok(Next::Accompany(LOOK))
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let position = |reader: &Reader| [&[VERSION][..], &reader.handed.to_le_bytes()].concat();
        Ok(self.as_ref().map(position).unwrap_or_default())
    }
}

/// Returns the number of entries that were handed out; `None` if it cannot be read.
fn read_position(position: &[u8]) -> Option<u64> {
    match position {
        [] => Some(0),
        [VERSION, count @ ..] => Some(u64::from_le_bytes(count.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_another_is_refused() {
        let reader = Some(Reader { later: Vec::new(), events: crossbeam_channel::never(), handed: 7 });
        assert_eq!(read_position(&reader.position().unwrap()), Some(7));
        assert_eq!(read_position(&None::<Reader>.position().unwrap()), Some(0));
        assert_eq!((read_position(&[2, 0]), read_position(&[VERSION, 1])), (None, None));
    }
}
