//! A reader without its types: what the source operator asks of it, a batch at a time.

use super::{Batch, Next, SourceReader};
use crate::error::ConnectorError;
use crate::packet::Packet;
use crate::record::{Arrival, Data, DeadLetter};
use crate::time::EventTime;

/// A reader, whatever it reads.
pub(super) trait Reading {
    fn read(&mut self, turn: Turn) -> Result<Read, ConnectorError>;
    /// As [`SourceReader::position`].
    fn position(&self) -> Result<Vec<u8>, ConnectorError>;
    /// As [`SourceReader::committed`].
    fn committed(&mut self, position: &[u8]);
}

/// What a reader can know about a read, from [`Batch`]; and the watermark of the source, behind which records are late.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) now: Arrival,
    pub(super) began: Arrival,
    pub(super) latest: EventTime,
    pub(super) reached: EventTime,
    pub(super) watermark: EventTime,
}

/// What a read brought.
pub(super) struct Read {
    pub(super) next: Next,
    pub(super) idle: bool,
    /// The watermark that the reader promises.
    pub(super) promised: Option<EventTime>,
    pub(super) records: Packet,
    /// Number of records behind the source's watermark.
    pub(super) late: u64,
    /// The earliest and the latest event time of the records.
    pub(super) span: Option<(EventTime, EventTime)>,
    pub(super) too_far_ahead: Vec<TooFarAhead>,
    pub(super) dead_letters: Vec<DeadLetter>,
}

/// A record that is further in the future than the job allows.
pub(super) struct TooFarAhead {
    pub(super) event_time: EventTime,
    /// The place it came from; empty if only the source is known.
    pub(super) origin: String,
    /// Its `Debug` form.
    pub(super) content: String,
}

/// A reader and the batch that it fills.
pub(super) struct Typed<R: SourceReader> {
    reader: R,
    batch: Batch<R::Item>,
}

impl<R: SourceReader> Typed<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, batch: Batch::new(Arrival(0)) }
    }
}

impl<R: SourceReader<Item: Data>> Reading for Typed<R> {
    fn read(&mut self, turn: Turn) -> Result<Read, ConnectorError> {
        let batch = &mut self.batch;
        batch.reset(turn.now);
        (batch.began, batch.latest, batch.reached) = (turn.began, turn.latest, turn.reached);
        let next = self.reader.read(batch)?;
        let (mut late, mut span) = (0, None);
        for record in &batch.records {
            let time = record.event_time;
            late += u64::from(time < turn.watermark);
            let (first, last) = span.unwrap_or((time, time));
            span = Some((time.min(first), time.max(last)));
        }
        let too_far_ahead = batch.ahead.drain(..).map(|(record, origin)| TooFarAhead {
            event_time: record.event_time,
            origin,
            content: format!("{:?}", record.data),
        });
        // The next batch is likely as large: reserve it in one allocation.
        let room = Vec::with_capacity(batch.records.len());
        Ok(Read {
            next,
            idle: batch.idle,
            promised: batch.watermark,
            late,
            span,
            too_far_ahead: too_far_ahead.collect(),
            dead_letters: std::mem::take(&mut batch.dead_letters),
            records: Packet::of(std::mem::replace(&mut batch.records, room)),
        })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        self.reader.position()
    }

    fn committed(&mut self, position: &[u8]) {
        self.reader.committed(position);
    }
}
