//! The sink of [`Stream::for_each`](crate::Stream::for_each): a function that is called with each record.

use std::marker::PhantomData;
use std::sync::Mutex;

use super::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use crate::error::{ConnectorError, ErrorKind, JobError};
use crate::graph::Stream;
use crate::locks::lock;
use crate::record::{Data, Record};
use crate::time::Epoch;

impl<D: Data> Stream<'_, D> {
    /// Calls `f` with each record, on the worker that has it, and ends the stream there. `name` is unique in the
    /// job. Each worker has a function of its own: to gather something together they share an `Arc<Mutex<_>>` or a
    /// channel.
    ///
    /// Guarantee: at least once. `f` is called when a record comes, before its epoch is committed: after a crash
    /// the records since the last checkpoint come again. A [`Sink`] of your own can give a stronger guarantee. `f`
    /// must not block for long.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn for_each(self, name: &str, f: impl FnMut(&Record<D>) + Send + 'static) -> Result<(), JobError> {
        self.sink(name, &Each::new(f))
    }
}

/// The sink of `for_each`. It hands its function to the one writer of its worker.
struct Each<D, F> {
    function: Mutex<Option<F>>,
    record: PhantomData<fn(D)>,
}

impl<D, F> Each<D, F> {
    fn new(function: F) -> Self {
        Self { function: Mutex::new(Some(function)), record: PhantomData }
    }
}

impl<D: Data, F: FnMut(&Record<D>) + Send + 'static> Sink for Each<D, F> {
    type Item = D;
    type Writer = EachWriter<D, F>;

    fn open(&self, _context: SinkContext) -> Result<Self::Writer, ConnectorError> {
        let function = lock(&self.function).take();
        let function = function.ok_or_else(|| ConnectorError::new(ErrorKind::Internal, "its function is in use"))?;
        Ok(EachWriter { function, record: PhantomData })
    }

    /// Does nothing: the checkpoint has nothing of what the function did.
    fn recover(&self, _context: &SinkContext, _tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

struct EachWriter<D, F> {
    function: F,
    record: PhantomData<fn(D)>,
}

impl<D: Data, F: FnMut(&Record<D>) + 'static> SinkWriter for EachWriter<D, F> {
    type Item = D;

    fn write(&mut self, record: &Record<D>) -> Result<(), ConnectorError> {
        (self.function)(record);
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        Ok(None)
    }
}
