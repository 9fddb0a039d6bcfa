//! Changes of operators that a stream asks for: a control topic or a control file as an input of the graph.

use std::sync::Arc;

use super::Stream;
use crate::control::ChangeRequest;
use crate::control::request::Request;
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
