//! Changes of operators as streams: those that a control topic or a control file asks for, and what became of all that were
//! asked for.

use std::sync::Arc;

use super::{Flow, Stream};
use crate::control::events::ChangeEvents;
use crate::control::request::Request;
use crate::control::{ChangeEvent, ChangeRequest};
use crate::error::JobError;
use crate::locks::lock;
use crate::record::{Data, Record};

impl<D: Data + Into<ChangeRequest>> Stream<'_, D> {
    /// Asks for a change of an operator with each record, and ends the stream here. What becomes of it is in the log and
    /// under `/api/v1/changes`; a request that is refused stops nothing.
    ///
    /// Guarantee: a request whose record is in a checkpoint is in it, too, until it is decided.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn change_operators(self, name: &str) -> Result<(), JobError> {
        let context = self.flow.context();
        let (process, asked) = (Arc::clone(&context.process), Arc::clone(&context.asked));
        self.for_each(name, move |record: &Record<D>| {
            let ChangeRequest { id, operator, change, by, reason } = record.data.clone().into();
            let (change, asked_ms) = (change.to_string(), process.clock.processing_time().0);
            let request = Request { id, operator, change, by, reason, asked_ms };
            process.control.asked(&request);
            lock(&asked).push(request);
        })
    }
}

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
