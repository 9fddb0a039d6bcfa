//! Sources and sinks in memory, for tests and small programs.

use std::sync::{Arc, Mutex};

use tidemill_engine::locks::lock;
use tidemill_engine::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill_engine::{ConnectorError, Data, Epoch, EventTime, Record};

use crate::generator::Generator;

/// Returns a source of the records of a vector, in its order, divided among the workers. A record whose event time is
/// before that of an earlier one is late, unless [`Generator::max_out_of_orderness`] allows the difference.
#[must_use]
pub fn vec_source<T: Data + Sync>(records: Vec<(EventTime, T)>) -> Generator<T> {
    let records = Arc::new(records);
    Generator::new(records.len() as u64, move |index| records[index as usize].clone())
}

/// A sink that collects the committed records of all workers in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CollectSink<T> {
    committed: Arc<Mutex<Vec<Record<T>>>>,
}

impl<T> Default for CollectSink<T> {
    fn default() -> Self {
        Self { committed: Arc::default() }
    }
}

impl<T: Data> CollectSink<T> {
    /// Returns the records that were committed so far.
    #[must_use]
    pub fn records(&self) -> Vec<Record<T>> {
        lock(&self.committed).clone()
    }

    /// Returns the data of the records that were committed so far, without times.
    #[must_use]
    pub fn data(&self) -> Vec<T> {
        self.records().into_iter().map(|record| record.data).collect()
    }
}

impl<T: Data> Sink for CollectSink<T> {
    type Item = T;
    type Writer = CollectWriter<T>;

    fn open(&self, _context: SinkContext) -> Result<Self::Writer, ConnectorError> {
        Ok(CollectWriter { staged: Vec::new(), committed: Arc::clone(&self.committed) })
    }

    /// Does nothing: memory does not survive its process, so records committed and not published before a crash are
    /// lost.
    fn recover(&self, _context: &SinkContext, _tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// The writer of one worker of a [`CollectSink`].
pub struct CollectWriter<T> {
    staged: Vec<Record<T>>,
    committed: Arc<Mutex<Vec<Record<T>>>>,
}

impl<T: Data> SinkWriter for CollectWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        self.staged.push(record.clone());
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let (records, committed) = (std::mem::take(&mut self.staged), Arc::clone(&self.committed));
        Ok(Some(Staged {
            token: Vec::new(),
            flush: Box::new(|| Ok(())),
            publish: Box::new(move || {
                lock(&committed).extend(records);
                Ok(())
            }),
        }))
    }
}

/// A sink that discards its records, to measure what a pipeline costs without output.
#[derive(Clone, Copy, Debug)]
pub struct NullSink<T>(std::marker::PhantomData<fn(T)>);

impl<T> Default for NullSink<T> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: Data> Sink for NullSink<T> {
    type Item = T;
    type Writer = Self;

    fn open(&self, _context: SinkContext) -> Result<Self, ConnectorError> {
        Ok(Self::default())
    }

    fn recover(&self, _context: &SinkContext, _tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl<T: Data> SinkWriter for NullSink<T> {
    type Item = T;

    fn write(&mut self, _record: &Record<T>) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        Ok(None)
    }
}
