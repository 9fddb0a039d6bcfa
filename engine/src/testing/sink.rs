//! A sink that gathers committed records, each once, even after a crash between commit and publication.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::stage::{Gathered, Stage};
use crate::error::{ConnectorError, ErrorKind};
use crate::locks::lock;
use crate::record::{Data, Record};
use crate::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use crate::time::Epoch;

/// A sink that gathers the committed records of all workers. Cheap to clone: one clone goes into the program, one
/// stays with the test.
#[derive(Clone)]
pub struct TestSink<T> {
    shelf: Arc<Shelf<T>>,
    stage: Arc<Stage>,
}

struct Shelf<T>(Mutex<Output<T>>);

struct Output<T> {
    /// The prepared output by token; it is durable if a checkpoint names the token.
    staged: BTreeMap<u64, (Epoch, Vec<Record<T>>)>,
    next_token: u64,
    published: Vec<(Epoch, Record<T>)>,
    /// Whether no program has it any more.
    removed: bool,
}

impl<T> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, Output<T>> {
        lock(&self.0)
    }
}

impl<T: Data> Output<T> {
    fn publish(&mut self, token: u64, stage: &Stage) {
        if let Some((epoch, records)) = self.staged.remove(&token) {
            stage.published(&records);
            self.published.extend(records.into_iter().map(|record| (epoch, record)));
        }
    }
}

impl<T: Data> Gathered for Shelf<T> {
    fn staged(&self) -> Vec<u64> {
        let output = self.lock();
        if output.removed { Vec::new() } else { output.staged.keys().copied().collect() }
    }
}

impl<T: Data> TestSink<T> {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let output = Output { staged: BTreeMap::new(), next_token: 0, published: Vec::new(), removed: false };
        let shelf = Arc::new(Shelf(Mutex::new(output)));
        stage.gather(Arc::clone(&shelf) as _);
        Self { shelf, stage }
    }

    /// Declares that the next program does not have this sink: the test does not wait for its staged output any more.
    pub fn remove(&self) {
        self.shelf.lock().removed = true;
    }

    /// Waits until everything that was done so far is handled and committed, and returns the records since the
    /// last call. Those of several workers are in no particular order.
    ///
    /// # Panics
    /// When the job has stopped with an error.
    #[track_caller]
    pub fn records(&self) -> Vec<Record<T>> {
        self.by_epoch().into_iter().map(|(_, record)| record).collect()
    }

    /// Returns the records as [`records`](Self::records) does, each with its epoch.
    ///
    /// # Panics
    /// As [`records`](Self::records).
    #[track_caller]
    pub fn by_epoch(&self) -> Vec<(Epoch, Record<T>)> {
        self.stage.settle();
        std::mem::take(&mut self.shelf.lock().published)
    }

    /// Returns the records as [`records`](Self::records) does, without their times.
    ///
    /// # Panics
    /// As [`records`](Self::records).
    #[track_caller]
    pub fn output(&self) -> Vec<T> {
        self.records().into_iter().map(|record| record.data).collect()
    }
}

impl<T: Data> Sink for TestSink<T> {
    type Item = T;
    type Writer = TestWriter<T>;

    fn open(&self, _context: SinkContext) -> Result<Self::Writer, ConnectorError> {
        Ok(TestWriter { shelf: Arc::clone(&self.shelf), stage: Arc::clone(&self.stage), records: Vec::new() })
    }

    fn recover(&self, _context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        let mut output = self.shelf.lock();
        for StagedToken { token, .. } in tokens {
            let token = token
                .try_into()
                .map_err(|_| ConnectorError::new(ErrorKind::Data, "a token in the checkpoint is not a test sink's"))?;
            output.publish(u64::from_le_bytes(token), &self.stage);
        }
        output.staged.clear();
        Ok(())
    }
}

/// The writer of one worker's output to a [`TestSink`].
pub struct TestWriter<T> {
    shelf: Arc<Shelf<T>>,
    stage: Arc<Stage>,
    records: Vec<Record<T>>,
}

impl<T: Data> SinkWriter for TestWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        self.records.push(record.clone());
        Ok(())
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        if self.records.is_empty() {
            return Ok(None);
        }
        let token = {
            let mut output = self.shelf.lock();
            output.next_token += 1;
            let token = output.next_token;
            output.staged.insert(token, (epoch, std::mem::take(&mut self.records)));
            token
        };
        let (shelf, stage) = (Arc::clone(&self.shelf), Arc::clone(&self.stage));
        Ok(Some(Staged {
            token: token.to_le_bytes().to_vec(),
            flush: Box::new(|| Ok(())),
            publish: Box::new(move || {
                shelf.lock().publish(token, &stage);
                Ok(())
            }),
        }))
    }
}
