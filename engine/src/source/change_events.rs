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
/// First byte of a position, before the last entry of the log that was handed out.
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
        let positions = context.restored.iter().map(|position| read_position(position)).collect::<Option<Vec<_>>>();
        let positions =
            positions.ok_or_else(|| ConnectorError::new(ErrorKind::Invalid, "its position cannot be read"))?;
        let last = positions.into_iter().flatten().max();
        let decided: Vec<ControlEntry> = self.log.iter().filter(|entry| entry.epoch.is_some()).cloned().collect();
        let later = after(decided, last.as_ref()).into_iter().map(ChangeEvent::from).collect();
        Ok(Some(Reader { later, events, last }))
    }
}

/// Hands out first what the log of the restored checkpoint has and no checkpoint has handed out, and then what comes.
struct Reader {
    later: Vec<ChangeEvent>,
    events: Receiver<ChangeEvent>,
    /// The last entry of the log that was handed out. Changes that were refused are not in the log.
    last: Option<Last>,
}

/// An entry of the log: its epoch and its identifier.
type Last = (u64, String);

/// Returns what of the log comes after an entry. It may not be there any more, because the state of its operator was
/// dropped: then its epoch says.
fn after(mut log: Vec<ControlEntry>, last: Option<&Last>) -> Vec<ControlEntry> {
    let Some((epoch, id)) = last else { return log };
    let found = log.iter().position(|entry| entry.id == *id);
    let first = found.map_or_else(|| log.partition_point(|entry| entry.epoch <= Some(*epoch)), |at| at + 1);
    log.split_off(first)
}

impl SourceReader for Option<Reader> {
    type Item = ChangeEvent;

    fn read(&mut self, batch: &mut Batch<ChangeEvent>) -> Result<Next, ConnectorError> {
        if let Some(Reader { later, events, last }) = self {
            for event in later.drain(..).chain(events.try_iter()) {
                if let Some(epoch) = event.epoch {
                    *last = Some((epoch, event.id.clone()));
                }
                batch.push(EventTime(event.asked_ms), event);
            }
        }
        // Nobody waits for the event time of a change.
        batch.mark_idle();
        Ok(Next::Accompany(LOOK))
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        let last = self.as_ref().and_then(|reader| reader.last.as_ref());
        let position = |(epoch, id): &Last| [&[VERSION][..], &epoch.to_le_bytes(), id.as_bytes()].concat();
        Ok(last.map(position).unwrap_or_default())
    }
}

/// Returns the last entry that was handed out, if any was; `None` if the position cannot be read.
fn read_position(position: &[u8]) -> Option<Option<Last>> {
    match position {
        [] => Some(None),
        [VERSION, rest @ ..] => {
            let (epoch, id) = rest.split_first_chunk()?;
            Some(Some((u64::from_le_bytes(*epoch), str::from_utf8(id).ok()?.to_owned())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_another_is_refused() {
        let last = Some((7, "a change".to_owned()));
        let reader = Some(Reader { later: Vec::new(), events: crossbeam_channel::never(), last: last.clone() });
        assert_eq!(read_position(&reader.position().unwrap()), Some(last));
        assert_eq!(read_position(&None::<Reader>.position().unwrap()), Some(None));
        assert_eq!((read_position(&[2, 0]), read_position(&[VERSION, 1])), (None, None));
    }

    #[test]
    fn the_log_goes_on_after_an_entry_also_if_that_was_dropped() {
        let entry = |id: &str, epoch: u64| ControlEntry {
            id: id.to_owned(),
            epoch: Some(epoch),
            operator: "x".to_owned(),
            change: serde_json::Value::Null,
            by: String::new(),
            reason: String::new(),
            asked_ms: 0,
        };
        let ids = |last: Option<(u64, &str)>| {
            let last = last.map(|(epoch, id)| (epoch, id.to_owned()));
            let later = after(vec![entry("b", 3), entry("c", 5), entry("d", 5)], last.as_ref());
            later.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        assert_eq!(
            (ids(None), ids(Some((5, "c")))),
            (vec!["b".to_owned(), "c".to_owned(), "d".to_owned()], vec!["d".to_owned()])
        );
        assert_eq!(ids(Some((4, "dropped"))), ["c", "d"]);
    }
}
