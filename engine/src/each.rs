//! The sink of [`Stream::for_each`](crate::Stream::for_each): a function that is called with each record.

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use crate::error::{ConnectorError, ErrorKind};
use crate::record::{Data, Record};
use crate::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use crate::time::Epoch;

/// Lends its function to the one writer of its worker.
pub(crate) struct Each<D, F> {
    function: Mutex<Option<F>>,
    record: PhantomData<fn(D)>,
}

impl<D, F> Each<D, F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function: Mutex::new(Some(function)), record: PhantomData }
    }
}

impl<D: Data, F: FnMut(&Record<D>) + Send + 'static> Sink for Each<D, F> {
    type Item = D;
    type Writer = EachWriter<D, F>;

    fn open(&self, _context: SinkContext) -> Result<Self::Writer, ConnectorError> {
        let function = self.function.lock().unwrap_or_else(PoisonError::into_inner).take();
        let function = function.ok_or_else(|| ConnectorError::new(ErrorKind::Internal, "its function is in use"))?;
        Ok(EachWriter { function, record: PhantomData })
    }

    /// What the function did is its own: nothing of it is in a checkpoint.
    fn recover(&self, _context: &SinkContext, _tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

pub(crate) struct EachWriter<D, F> {
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
