//! Records on their way between operators. Only the two ends know their type.
//!
//! Timely is generic over what its channels carry. If they carried a program's own types, all of their code would be
//! compiled again for each stream of each program, so every channel of every program carries this one type.

use std::any::Any;
use std::fmt::Debug;
use std::io::Write;

use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

use crate::error::{ErrorKind, JobError};
use crate::record::{Data, Record};
use crate::time::EventTime;

/// A batch of records of one type.
#[derive(Clone, Default)]
pub(crate) struct Packet {
    /// The worker that sent it, if it was exchanged.
    pub(crate) from: u32,
    /// The number of records.
    len: u32,
    content: Content,
}

#[derive(Clone, Default)]
enum Content {
    #[default]
    Nothing,
    Records(Box<dyn Records>),
    /// Records on their way to another process, or from one.
    Encoded(Vec<u8>),
}

/// A `Vec<Record<D>>`, whose type is known only to those who know `D`.
trait Records: Send {
    fn copy(&self) -> Box<dyn Records>;
    fn encode(&self, to: &mut Vec<u8>) -> Result<(), String>;
    fn look(&self, at: usize) -> Option<(EventTime, &dyn Debug)>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<D: Data> Records for Vec<Record<D>> {
    fn copy(&self) -> Box<dyn Records> {
        Box::new(self.clone())
    }

    fn encode(&self, to: &mut Vec<u8>) -> Result<(), String> {
        tidemill_state::encode_message(self, to)
    }

    fn look(&self, at: usize) -> Option<(EventTime, &dyn Debug)> {
        self.get(at).map(|record| (record.event_time, &record.data as &dyn Debug))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Clone for Box<dyn Records> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

impl Packet {
    /// Packs the records. There are at most a few thousand in a batch.
    pub(crate) fn of<D: Data>(records: Vec<Record<D>>) -> Self {
        let len = records.len() as u32;
        Self { from: 0, len, content: if len == 0 { Content::Nothing } else { Content::Records(Box::new(records)) } }
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns the event time and the data of a record, to be shown; `None` if there is no such record, or if it is
    /// encoded.
    pub(crate) fn look(&self, at: usize) -> Option<(EventTime, &dyn Debug)> {
        match &self.content {
            Content::Records(records) => records.look(at),
            Content::Nothing | Content::Encoded(_) => None,
        }
    }

    /// Unpacks the records for `operator`.
    ///
    /// # Errors
    /// When they came from another process and cannot be decoded.
    pub(crate) fn open<D: Data>(self, operator: &str) -> Result<Vec<Record<D>>, JobError> {
        let Self { from, len, content } = self;
        let unreadable = |kind, reason: &str| {
            let wanted = std::any::type_name::<D>();
            let reason = format!("a batch of {len} records from worker {from} cannot be read as {wanted}: {reason}");
            JobError::operator(operator, kind, reason)
        };
        match content {
            Content::Nothing => Ok(Vec::new()),
            Content::Records(records) => {
                let records = records.into_any().downcast::<Vec<Record<D>>>();
                records.map(|records| *records).map_err(|_| unreadable(ErrorKind::Internal, "it is of another type"))
            }
            Content::Encoded(bytes) => {
                let same = "; all processes must run the same program";
                let records: Vec<Record<D>> = tidemill_state::decode_message(&bytes)
                    .map_err(|reason| unreadable(ErrorKind::Invalid, &(reason + same)))?;
                if records.len() != len as usize {
                    return Err(unreadable(ErrorKind::Invalid, &format!("it has {}{same}", records.len())));
                }
                Ok(records)
            }
        }
    }

    /// Encodes the records for their way to another process.
    ///
    /// # Errors
    /// When their type refuses to be serialised; the error is its reason.
    pub(crate) fn encode(&mut self) -> Result<(), String> {
        if let Content::Records(records) = &self.content {
            let mut bytes = Vec::new();
            records.encode(&mut bytes)?;
            self.content = Content::Encoded(bytes);
        }
        Ok(())
    }

    fn encoded(&self) -> &[u8] {
        match &self.content {
            Content::Encoded(bytes) => bytes,
            // An exchange encodes what leaves the process.
            Content::Nothing | Content::Records(_) => {
                debug_assert!(self.len == 0, "records leave the process without being encoded");
                &[]
            }
        }
    }
}

impl Accountable for Packet {
    fn record_count(&self) -> i64 {
        i64::from(self.len)
    }
}

/// `[from u32 LE][number of records u32 LE][length of the content u64 LE][content][zeros up to a multiple of 8 bytes]`
impl ContainerBytes for Packet {
    fn from_bytes(bytes: Bytes) -> Self {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let len = number(8) as usize | (number(12) as usize) << 32;
        // What is cut off is found when the content is decoded.
        let content = bytes.get(16..).map(|rest| rest[..len.min(rest.len())].to_vec()).unwrap_or_default();
        Self { from: number(0), len: number(4), content: Content::Encoded(content) }
    }

    fn length_in_bytes(&self) -> usize {
        16 + self.encoded().len().next_multiple_of(8)
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let content = self.encoded();
        let mut header = [0; 16];
        header[..4].copy_from_slice(&self.from.to_le_bytes());
        header[4..8].copy_from_slice(&self.len.to_le_bytes());
        header[8..].copy_from_slice(&(content.len() as u64).to_le_bytes());
        let padding = &[0; 8][..content.len().next_multiple_of(8) - content.len()];
        let written = [&header[..], content, padding].into_iter().try_for_each(|part| writer.write_all(part));
        // Timely gives a writer into memory that has room for what `length_in_bytes` says.
        debug_assert!(written.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::with_causes;
    use crate::record::Arrival;

    fn records(data: &[&str]) -> Vec<Record<String>> {
        let record = |data: &&str| Record { event_time: EventTime(7), arrival: Arrival(8), data: (*data).to_owned() };
        data.iter().map(record).collect()
    }

    fn sent(mut packet: Packet) -> Packet {
        packet.encode().unwrap();
        let mut bytes = Vec::new();
        packet.into_bytes(&mut bytes);
        assert_eq!((bytes.len(), bytes.len() % 8), (packet.length_in_bytes(), 0));
        let mut slab = timely::bytes::arc::BytesMut::from(bytes);
        let len = slab.len();
        Packet::from_bytes(slab.extract_to(len))
    }

    #[test]
    fn records_come_out_as_they_went_in_here_and_in_another_process() {
        let all = records(&["a", "", "a longer one"]);
        let packet = Packet { from: 3, ..Packet::of(all.clone()) };
        assert_eq!((packet.len(), packet.record_count()), (3, 3));
        assert_eq!(packet.clone().open::<String>("count").unwrap(), all);
        let sent = sent(packet);
        assert_eq!((sent.from, sent.len()), (3, 3));
        assert_eq!(sent.clone().open::<String>("count").unwrap(), all);
        assert!(Packet::of::<String>(Vec::new()).open::<String>("count").unwrap().is_empty());
    }

    #[test]
    fn another_type_is_an_error() {
        let packet = Packet::of(records(&["seven"]));
        let error = packet.clone().open::<u8>("count").unwrap_err();
        assert!(with_causes(&error).contains("from worker 0 cannot be read as u8: it is of another type"), "{error}");
        let error = sent(packet).open::<(u8, u64)>("count").unwrap_err();
        assert!(with_causes(&error).contains("all processes must run the same program"), "{error}");
    }
}
