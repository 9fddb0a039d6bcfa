//! The spans of epochs. Only the worker that leads knows when one begins and that it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::JobError;
use crate::place::Place;
use crate::record::Arrival;
use crate::spans::{Kind, Span, Tracer};
use crate::time::Epoch;

/// The spans of the epochs of a job. Without a tracer nothing is kept.
pub(super) struct EpochSpans {
    tracer: Option<Arc<Tracer>>,
    workers: usize,
    /// When the epochs began that are not committed yet; empty except on the worker that leads.
    begun: BTreeMap<Epoch, Arrival>,
    /// Why the worker has failed.
    error: Option<String>,
}

impl EpochSpans {
    pub(super) fn new(workers: usize) -> Self {
        let tracer = Place::tracer_here().map(|(tracer, _)| tracer);
        Self { tracer, workers, begun: BTreeMap::new(), error: None }
    }

    /// Sets the incarnation of the leading process, of which the ids of traces are made.
    pub(super) fn begin_run(&self, run: u64) {
        self.tracer.iter().for_each(|tracer| tracer.begin(run));
    }

    /// Records that the sources of all workers are to begin `epoch`.
    pub(super) fn begin(&mut self, epoch: Epoch) {
        if let Some(tracer) = &self.tracer {
            self.begun.insert(epoch, tracer.now());
        }
    }

    /// Records that all operators of a worker have sealed their changes, `took` after the end of the epoch.
    pub(super) fn aligned(&self, epoch: Epoch, worker: usize, took: Duration) {
        if let Some(tracer) = &self.tracer {
            let attributes = vec![("tidemill.worker", worker.into())];
            tracer.part(epoch.0, ("align", Kind::Internal), took, attributes, None);
        }
    }

    pub(super) fn committed(&mut self, epoch: Epoch) {
        self.end(epoch, None);
    }

    /// Records why the worker has failed, for the epochs that are not committed.
    pub(super) fn failed(&mut self, error: &JobError) {
        if self.tracer.is_some() {
            self.error = Some(error.to_string());
        }
    }

    fn end(&mut self, epoch: Epoch, error: Option<String>) {
        let (Some(tracer), Some(began)) = (&self.tracer, self.begun.remove(&epoch)) else { return };
        let Some(context) = tracer.epoch(epoch.0) else { return };
        let attributes = vec![("tidemill.epoch", epoch.0.into()), ("tidemill.workers", self.workers.into())];
        let ended = tracer.now();
        let name = "epoch".into();
        tracer.record(Span { context, parent: None, name, kind: Kind::Internal, began, ended, attributes, error });
    }
}

impl Drop for EpochSpans {
    fn drop(&mut self) {
        let error = self.error.take().unwrap_or_else(|| "the job has failed elsewhere".to_owned());
        while let Some((epoch, _)) = self.begun.first_key_value() {
            self.end(*epoch, Some(format!("the epoch was not committed: {error}")));
        }
    }
}
