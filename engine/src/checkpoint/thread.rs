//! The checkpoint thread of a worker: everything of a checkpoint that blocks.
//!
//! One thread per worker, one queue, so that deltas reach RocksDB in the order of epochs and output
//! is published in the order of commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use tidemill_state::{BaseEntry, CheckpointStore, Db, Delta, DeltaEntry, Manifest, Retention};

use super::protocol::Durable;
use crate::error::JobError;
use crate::ingest::connector_error;
use crate::sink::SinkTask;
use crate::time::Epoch;

/// What the worker asks for.
pub(crate) enum Command {
    /// Make sink output durable, then the delta.
    Write { epoch: Epoch, delta: Box<Delta>, flushes: Vec<(String, SinkTask)> },
    /// Make the output of a committed epoch visible.
    Publish { epoch: Epoch, tasks: Vec<(String, SinkTask)> },
    /// Put the manifest: the commit.
    Commit(Box<Manifest>),
}

/// What the thread answers.
pub(crate) enum Answer {
    Durable(Durable),
    Published(Epoch),
    Committed(Epoch),
    Failed(JobError),
}

/// When a worker takes a base snapshot instead of adding delta to delta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BasePolicy {
    /// Once the deltas since the last base have this many bytes (or as many as the base has).
    pub(crate) delta_bytes: u64,
    /// And no more often than this.
    pub(crate) min_interval: Duration,
}

impl Default for BasePolicy {
    fn default() -> Self {
        Self { delta_bytes: 64 << 20, min_interval: Duration::from_secs(10) }
    }
}

/// Where checkpoints go; none in a job without them.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) retention: Retention,
    pub(crate) incarnation: u64,
}

/// The worker's handle to its thread.
pub(crate) struct CheckpointThread {
    commands: Option<Sender<Command>>,
    answers: Receiver<Answer>,
    handle: Option<JoinHandle<()>>,
}

impl CheckpointThread {
    /// Starts the thread; its answers wake `worker_thread`, which must be the calling one.
    pub(crate) fn start(
        worker: u32,
        db: Arc<Db>,
        target: Option<Target>,
        restored: bool,
        delta_bytes: Arc<AtomicU64>,
    ) -> Result<Self, JobError> {
        let (commands, queue) = crossbeam_channel::unbounded();
        let (answer, answers) = crossbeam_channel::unbounded();
        let mut thread = CheckpointWork {
            worker,
            db,
            target,
            // The files of a restored checkpoint belong to other workers, of another number perhaps:
            // the first epoch makes a base of its own.
            base_due: restored,
            since_base: 0,
            base_taken: Instant::now(),
            policy: BasePolicy::default(),
            published: Epoch(0),
            delta_bytes,
            answer: Answers { answer, wake: std::thread::current() },
        };
        let handle = std::thread::Builder::new()
            .name(format!("checkpoint-{worker}"))
            .spawn(move || thread.serve(&queue))
            .map_err(|source| JobError::Io { what: "start the checkpoint thread".to_owned(), source })?;
        Ok(Self { commands: Some(commands), answers, handle: Some(handle) })
    }

    pub(crate) fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A closed queue means that the thread has failed, and said so.
            drop(commands.send(command));
        }
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = Answer> + '_ {
        self.answers.try_iter()
    }
}

impl Drop for CheckpointThread {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

struct Answers {
    answer: Sender<Answer>,
    wake: Thread,
}

impl Answers {
    fn give(&self, answer: Answer) {
        drop(self.answer.send(answer));
        self.wake.unpark();
    }
}

struct CheckpointWork {
    worker: u32,
    db: Arc<Db>,
    target: Option<Target>,
    base_due: bool,
    since_base: u64,
    base_taken: Instant,
    policy: BasePolicy,
    published: Epoch,
    delta_bytes: Arc<AtomicU64>,
    answer: Answers,
}

impl CheckpointWork {
    fn serve(&mut self, queue: &Receiver<Command>) {
        for command in queue {
            let answer = self.handle(command).unwrap_or_else(Answer::Failed);
            let failed = matches!(answer, Answer::Failed(_));
            self.answer.give(answer);
            if failed {
                return;
            }
        }
    }

    fn handle(&mut self, command: Command) -> Result<Answer, JobError> {
        match command {
            Command::Write { epoch, delta, flushes } => self.write(epoch, *delta, flushes).map(Answer::Durable),
            Command::Publish { epoch, tasks } => {
                run(tasks)?;
                self.published = epoch;
                Ok(Answer::Published(epoch))
            }
            Command::Commit(manifest) => self.commit(&manifest),
        }
    }

    fn write(&mut self, epoch: Epoch, delta: Delta, flushes: Vec<(String, SinkTask)>) -> Result<Durable, JobError> {
        run(flushes)?;
        let mut durable = Durable { worker: self.worker, epoch, delta: None, base: None, published: self.published };
        if let Some(Target { store, incarnation, .. }) = &self.target {
            let entry: DeltaEntry = delta.store(store.as_ref(), *incarnation)?;
            self.delta_bytes.fetch_add(entry.len, Ordering::Relaxed);
            self.since_base += entry.len;
            durable.delta = Some(entry);
        }
        self.db.push(Arc::new(delta))?;
        durable.base = self.base_if_due(epoch)?;
        Ok(durable)
    }

    fn base_if_due(&mut self, epoch: Epoch) -> Result<Option<BaseEntry>, JobError> {
        let Some(Target { store, incarnation, .. }) = &self.target else { return Ok(None) };
        let grown = self.since_base >= self.policy.delta_bytes && self.base_taken.elapsed() >= self.policy.min_interval;
        if !(self.base_due || grown) {
            return Ok(None);
        }
        let base = self.db.snapshot(store.as_ref(), epoch.0, self.worker, *incarnation)?;
        tracing::debug!(epoch = epoch.0, worker = self.worker, files = base.files.len(), "base snapshot");
        (self.base_due, self.since_base, self.base_taken) = (false, 0, Instant::now());
        Ok(Some(base))
    }

    fn commit(&self, manifest: &Manifest) -> Result<Answer, JobError> {
        if let Some(Target { store, retention, .. }) = &self.target {
            manifest.commit(store.as_ref())?;
            retention.prune(store.as_ref())?;
        }
        Ok(Answer::Committed(Epoch(manifest.epoch)))
    }
}

fn run(tasks: Vec<(String, SinkTask)>) -> Result<(), JobError> {
    tasks.into_iter().try_for_each(|(sink, task)| task().map_err(|e| connector_error(&sink, e)))
}
