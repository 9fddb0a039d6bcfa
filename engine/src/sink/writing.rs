//! A writer without its types: what the sink operator asks of it, a batch at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use super::{SinkWriter, Staged};
use crate::error::{ConnectorError, JobError};
use crate::packet::Packet;
use crate::record::{Arrival, Data, Record};
use crate::threads;
use crate::time::Epoch;

/// The longest time that a writer is called in one turn, since the other operators of the worker wait meanwhile.
const TURN: Duration = Duration::from_millis(5);
/// Number of records between two readings of the clock.
const STRIDE: usize = 16;

/// A writer, whatever it writes, and the records of the current epoch that it has not taken yet.
pub(super) trait Writing {
    /// Adds records to those that wait.
    fn take(&mut self, packet: Packet, sink: &str) -> Result<(), JobError>;
    /// Returns whether records wait.
    fn has_waiting(&self) -> bool;
    /// Writes the records that wait, and notes when those that were written had arrived. Returns false when the writer
    /// cannot take more now, or when the turn that began at `began` is over.
    fn write(&mut self, began: Instant, written: &mut Vec<Arrival>) -> Result<bool, ConnectorError>;
    /// As [`SinkWriter::ends`].
    fn ends(&mut self);
    /// As [`SinkWriter::stage`].
    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError>;
}

pub(super) struct Typed<W: SinkWriter> {
    writer: W,
    waiting: VecDeque<IntoIter<Record<W::Item>>>,
}

impl<W: SinkWriter> Typed<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, waiting: VecDeque::new() }
    }
}

impl<D: Data, W: SinkWriter<Item = D>> Writing for Typed<W> {
    fn take(&mut self, packet: Packet, sink: &str) -> Result<(), JobError> {
        self.waiting.push_back(packet.open(sink)?.into_iter());
        Ok(())
    }

    fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn write(&mut self, began: Instant, written: &mut Vec<Arrival>) -> Result<bool, ConnectorError> {
        while let Some(records) = self.waiting.front_mut() {
            while !records.as_slice().is_empty() {
                if !self.writer.ready() || threads::since(began) > TURN {
                    return Ok(false);
                }
                for record in records.by_ref().take(STRIDE) {
                    self.writer.write(&record)?;
                    written.push(record.arrival);
                }
            }
            self.waiting.pop_front();
        }
        Ok(true)
    }

    fn ends(&mut self) {
        self.writer.ends();
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        self.writer.stage(epoch)
    }
}
