//! The source of what becomes of changes.

use std::time::Duration;

use crossbeam_channel::Receiver;
use tidemill_state::ControlEntry;

use super::{Batch, Next, Source, SourceContext, SourceReader};
use crate::control::ChangeEvent;
use crate::error::{ConnectorError, ErrorKind, JobError};
use crate::graph::{Flow, Stream};
use crate::time::EventTime;

/// Time between two looks whether something was decided.
const LOOK: Duration = Duration::from_millis(50);
/// First byte of a position, before the number of entries of the log that were handed out.
const VERSION: u8 = 1;

impl<'s> Flow<'s> {
    /// Returns what becomes of the changes of this job's operators, by whom ever they were asked for: a stream for a sink
    /// that others look at.
    /// * Time, order: the event time is that of the request; the order is that of the decisions. Nothing waits for its
    ///   watermark, and the job does not wait for its end.
    /// * Guarantee: a change that any record is subject to is in the stream once, after a restore, too. One that is refused
    ///   is in it once, unless the job crashes between the refusal and the next checkpoint (then the request is decided
    ///   anew, if the checkpoint or its source has it), or is refused because the input has ended.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn change_events(&self, name: &str) -> Result<Stream<'s, ChangeEvent>, JobError> {
        let context = self.context();
        let events = (context.worker == 0).then(|| context.process.control.listen());
        self.source(name, &ChangeEvents { events, log: context.start.control.clone() })
    }
}

/// The changes of a job.
struct ChangeEvents {
    /// What comes; none on workers that hand out nothing.
    events: Option<Receiver<ChangeEvent>>,
    /// The log of the restored checkpoint.
    log: Vec<ControlEntry>,
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
struct Reader {
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
