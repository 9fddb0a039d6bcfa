//! The publishing of a worker's output: a thread for each sink, so that a target that takes its time holds up neither
//! the next epoch nor another sink.
//!
//! ```text
//! e is committed ─▶ its output, by sink ─┬─▶ queue ─▶ thread of sink a: publishes e, e+1, … in order ─▶ answers
//!                                        └─▶ queue ─▶ thread of sink b
//! ```
//! A thread begins with the first output of its sink. What waits in the queues is bounded by the sinks' backlogs, which
//! apply backpressure. Output that is not published when the job fails is in the checkpoint: the next start publishes it.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::history::History;
use super::protocol::Unpublished;
use crate::crash;
use crate::epoch::{SinkTask, StagedOutput};
use crate::error::{ConnectorError, ErrorKind, JobError, panic_text};
use crate::place::Place;
use crate::spans::{Kind, Tracer};
use crate::threads;
use crate::time::Epoch;

/// The output of a worker's sinks that is committed: which of it is published, and the threads that publish it.
pub(crate) struct Publishing {
    worker: u32,
    committed: Epoch,
    sinks: BTreeMap<String, Publisher>,
    answer: Sender<Answer>,
    answers: Receiver<Answer>,
    /// Whether the job has ended, so that no other output is begun.
    over: Arc<AtomicBool>,
    history: History,
}

/// The thread of one sink.
struct Publisher {
    queue: Option<Sender<Order>>,
    handle: Option<threads::Handle<()>>,
    /// The epochs with output that is not published yet, in order.
    unpublished: VecDeque<Epoch>,
}

/// Output to be published.
struct Order {
    epoch: Epoch,
    committed: Instant,
    output: StagedOutput,
}

struct Answer {
    sink: String,
    published: Result<Epoch, JobError>,
}

impl Publishing {
    /// Begins after `restored`, whose output the sinks have published by now. Answers wake the calling thread, which must be
    /// that of the worker.
    pub(crate) fn new(worker: u32, restored: Epoch, history: History) -> Self {
        let (answer, answers) = crossbeam_channel::unbounded();
        let (sinks, over) = (BTreeMap::new(), Arc::default());
        Self { worker, committed: restored, sinks, answer, answers, over, history }
    }

    /// Has the output of a committed epoch published.
    pub(crate) fn publish(&mut self, epoch: Epoch, staged: Vec<StagedOutput>) -> Result<(), JobError> {
        self.committed = epoch;
        let committed = threads::now();
        self.history.note(epoch, self.worker, |part| part.publish = Some(Duration::ZERO));
        for output in staged {
            if !self.sinks.contains_key(&output.sink) {
                let publisher = self.start()?;
                self.sinks.insert(output.sink.clone(), publisher);
            }
            let Some(publisher) = self.sinks.get_mut(&output.sink) else { continue };
            publisher.unpublished.push_back(epoch);
            output.backlog.committed(output.bytes);
            if let Some(queue) = &publisher.queue {
                // A closed queue means that the thread has failed, and has answered so.
                drop(queue.send(Order { epoch, committed, output }));
            }
        }
        Ok(())
    }

    fn start(&self) -> Result<Publisher, JobError> {
        let (queue, orders) = crossbeam_channel::unbounded();
        let work = PublishWork {
            worker: self.worker,
            over: Arc::clone(&self.over),
            history: self.history.clone(),
            tracer: Place::tracer_here().map(|(tracer, _)| tracer),
            answer: self.answer.clone(),
            wake: std::thread::current(),
        };
        let handle = threads::spawn(format!("publish-{}", self.worker), move || work.serve(&orders))
            .map_err(|source| JobError::Io { what: "start a thread that publishes output".to_owned(), source })?;
        Ok(Publisher { queue: Some(queue), handle: Some(handle), unpublished: VecDeque::new() })
    }

    /// Takes note of what has been published since the last call.
    ///
    /// # Errors
    /// When a sink could not publish.
    pub(crate) fn take_answers(&mut self) -> Result<(), JobError> {
        for Answer { sink, published } in self.answers.try_iter() {
            let published = published?;
            if let Some(publisher) = self.sinks.get_mut(&sink) {
                publisher.unpublished.retain(|epoch| *epoch > published);
            }
        }
        Ok(())
    }

    /// Returns the newest epoch up to which all sinks have published.
    pub(crate) fn published(&self) -> Epoch {
        self.sinks.values().map(|publisher| publisher.published(self.committed)).min().unwrap_or(self.committed)
    }

    /// Returns the sinks that have published more than the slowest one, each with the newest epoch up to which it has.
    pub(crate) fn ahead(&self) -> Vec<(String, Epoch)> {
        let least = self.published();
        let each = self.sinks.iter().map(|(sink, publisher)| (sink.clone(), publisher.published(self.committed)));
        each.filter(|(_, published)| *published > least).collect()
    }

    pub(crate) fn unpublished(&self) -> Unpublished {
        let epochs = self.sinks.values().flat_map(|publisher| publisher.unpublished.iter().copied()).collect();
        Unpublished { committed: self.committed, epochs }
    }
}

impl Publisher {
    fn published(&self, committed: Epoch) -> Epoch {
        self.unpublished.front().map_or(committed, |first| Epoch(first.0.saturating_sub(1)))
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // All queues first: the threads end side by side.
        self.sinks.values_mut().for_each(|publisher| publisher.queue = None);
        // After a panic of its worker, the other workers hear of it only when this is over.
        for publisher in self.sinks.values_mut().filter(|_| !std::thread::panicking()) {
            if let Some(handle) = publisher.handle.take()
                && handle.join().is_err()
            {
                tracing::error!("a thread that publishes output panicked");
            }
        }
    }
}

/// What a thread works with.
struct PublishWork {
    worker: u32,
    over: Arc<AtomicBool>,
    history: History,
    /// Records spans, if the job sends them to a collector.
    tracer: Option<Arc<Tracer>>,
    answer: Sender<Answer>,
    wake: Thread,
}

impl PublishWork {
    fn serve(&self, orders: &Receiver<Order>) {
        while let Some(Order { epoch, committed, output }) = threads::receive(orders) {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let StagedOutput { sink, task, bytes, backlog } = output;
            backlog.begun(bytes);
            let published = threads::may_crash().and_then(|()| self.publish(epoch, &sink, task));
            let failed = published.is_err();
            if !failed {
                crash::point("after-publish", epoch, self.worker as usize);
                backlog.published(bytes);
                // The slowest sink is the last one to note it.
                let took = threads::since(committed);
                self.history.note(epoch, self.worker, |part| part.publish = Some(took));
            }
            drop(self.answer.send(Answer { sink, published: published.map(|()| epoch) }));
            self.wake.unpark();
            if failed {
                return;
            }
        }
    }

    /// Makes the output of a sink visible.
    fn publish(&self, epoch: Epoch, sink: &str, task: SinkTask) -> Result<(), JobError> {
        let began = threads::now();
        // If the thread ended without an answer, the job would wait for it at its end.
        let published = catch_unwind(AssertUnwindSafe(task)).unwrap_or_else(|panic| Err(panicked(&*panic)));
        let result = published.map_err(|error| JobError::of_connector(sink, error));
        if let Some(tracer) = &self.tracer {
            let worker = u64::from(self.worker).into();
            let attributes = vec![("tidemill.worker", worker), ("tidemill.sink", sink.into())];
            let name = (format!("publish {sink}"), Kind::Producer);
            let error = result.as_ref().err().map(ToString::to_string);
            tracer.part(epoch.0, name, threads::since(began), attributes, error);
        }
        result
    }
}

fn panicked(panic: &(dyn Any + Send)) -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, format!("publishing panicked ({})", panic_text(panic)))
}

#[cfg(test)]
mod tests;
