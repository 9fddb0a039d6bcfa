//! The checkpoint thread of a worker: everything of a checkpoint that blocks.
//!
//! One thread per worker, one queue, so that deltas reach RocksDB in the order of epochs and output
//! is published in the order of commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use tidemill_state::{BaseEntry, CheckpointStore, Db, Delta, DeltaEntry, Manifest, Retention, Snapshot, StateError};

use super::protocol::Durable;
use crate::crash;
use crate::error::JobError;
use crate::ingest::connector_error;
use crate::sink::SinkTask;
use crate::time::Epoch;
use crate::turns;

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
    handle: Option<turns::Handle<()>>,
}

impl CheckpointThread {
    /// Starts the thread; its answers wake `worker_thread`, which must be the calling one.
    pub(crate) fn start(
        worker: u32,
        db: Arc<Db>,
        target: Option<Target>,
        restored: bool,
        policy: BasePolicy,
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
            base_taken: turns::now(),
            taking: None,
            policy,
            published: Epoch(0),
            delta_bytes,
            answer: Answers { answer, wake: std::thread::current() },
        };
        let handle = turns::spawn(format!("checkpoint-{worker}"), move || thread.serve(&queue))
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
    taking: Option<turns::Handle<Result<Snapshot, StateError>>>,
    policy: BasePolicy,
    published: Epoch,
    delta_bytes: Arc<AtomicU64>,
    answer: Answers,
}

impl CheckpointWork {
    fn serve(&mut self, queue: &Receiver<Command>) {
        while let Some(command) = turns::receive(queue) {
            let answer = self.handle(command).unwrap_or_else(Answer::Failed);
            let failed = matches!(answer, Answer::Failed(_));
            self.answer.give(answer);
            if failed {
                break;
            }
        }
        // It works in a folder that is removed when the job ends.
        if let Some(taking) = self.taking.take() {
            drop(taking.join());
        }
    }

    fn handle(&mut self, command: Command) -> Result<Answer, JobError> {
        match command {
            Command::Write { epoch, delta, flushes } => self.write(epoch, *delta, flushes).map(Answer::Durable),
            Command::Publish { epoch, tasks } => {
                for task in tasks {
                    turns::may_crash()?;
                    run([task])?;
                    crash::point("after-publish", epoch, self.worker as usize);
                }
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
            crash::point("after-delta", epoch, self.worker as usize);
        }
        self.db.push(Arc::new(delta))?;
        durable.base = self.base_if_due(epoch)?;
        Ok(durable)
    }

    /// A base snapshot to go with `epoch`: of its own end for the first one after a restore; otherwise of an
    /// earlier end, because it is taken on a thread beside the epochs, which are committed meanwhile.
    fn base_if_due(&mut self, epoch: Epoch) -> Result<Option<BaseEntry>, JobError> {
        let Some(Target { store, incarnation, .. }) = &self.target else { return Ok(None) };
        let finished = self.taking.take_if(|taking| taking.is_finished());
        let snapshot = if std::mem::take(&mut self.base_due) {
            self.db.snapshot()?
        } else if let Some(taken) = finished {
            taken.join().map_err(|_| JobError::Invalid("the snapshot thread panicked, which is a bug".to_owned()))??
        } else {
            let grown = self.since_base >= self.policy.delta_bytes;
            if self.taking.is_none() && grown && turns::since(self.base_taken) >= self.policy.min_interval {
                let db = Arc::clone(&self.db);
                let failed = |source| JobError::Io { what: "start the snapshot thread".to_owned(), source };
                let take = move || {
                    turns::step_back();
                    db.snapshot()
                };
                self.taking = Some(turns::spawn(format!("snapshot-{}", self.worker), take).map_err(failed)?);
                (self.since_base, self.base_taken) = (0, turns::now());
            }
            return Ok(None);
        };
        let base = snapshot.store(store.as_ref(), epoch.0, self.worker, *incarnation)?;
        tracing::debug!(of = base.epoch, epoch = epoch.0, worker = self.worker, "base snapshot");
        Ok(Some(base))
    }

    fn commit(&self, manifest: &Manifest) -> Result<Answer, JobError> {
        if let Some(Target { store, retention, .. }) = &self.target {
            crash::point("before-manifest", Epoch(manifest.epoch), self.worker as usize);
            manifest.commit(store.as_ref())?;
            crash::point("after-manifest", Epoch(manifest.epoch), self.worker as usize);
            retention.prune(store.as_ref())?;
        }
        Ok(Answer::Committed(Epoch(manifest.epoch)))
    }
}

fn run(tasks: impl IntoIterator<Item = (String, SinkTask)>) -> Result<(), JobError> {
    tasks.into_iter().try_for_each(|(sink, task)| task().map_err(|e| connector_error(&sink, e)))
}

#[cfg(test)]
mod tests {
    use tidemill_state::{
        Backend, BackendConfig, Changes, KeyGroups, LocalStore, RestoredWorker, StateName, StateSpec, WorkerEntry,
        hash_key,
    };

    use super::*;
    use crate::checkpoint::leader::Chain;

    fn config(dir: &std::path::Path) -> BackendConfig {
        BackendConfig {
            dir: Some(dir.to_owned()),
            key_groups: KeyGroups::new(8),
            worker: 0,
            workers: 1,
            memory_limit_bytes: None,
            durable: true,
        }
    }

    fn spec() -> StateSpec {
        let name = StateName { operator: "op".to_owned(), state: "sums".to_owned() };
        StateSpec { name, version: 1, ttl: None, parameters: None }
    }

    /// Epochs go on while bases are taken; whichever epoch is restored, its state is as it was.
    #[test]
    fn a_base_beside_the_epochs_restores_each_of_them() {
        let scratch = tempfile::tempdir().unwrap();
        let store: Arc<dyn CheckpointStore> = Arc::new(LocalStore::open(&scratch.path().join("store")).unwrap());
        let mut backend = Backend::open(config(&scratch.path().join("work")), None).unwrap();
        let table = backend.value_table::<u64, u64>(spec()).unwrap();
        let mut states = backend.operator("op");
        let (answer, _answers) = crossbeam_channel::unbounded();
        let mut thread = CheckpointWork {
            worker: 0,
            db: backend.db(),
            target: Some(Target { store: Arc::clone(&store), retention: Retention { keep: 1000 }, incarnation: 7 }),
            base_due: false,
            since_base: 0,
            base_taken: Instant::now(),
            taking: None,
            policy: BasePolicy { delta_bytes: 1, min_interval: Duration::ZERO },
            published: Epoch(0),
            delta_bytes: Arc::default(),
            answer: Answers { answer, wake: std::thread::current() },
        };
        let (mut chain, mut bases, mut manifests) = (Chain::default(), 0, Vec::new());
        for epoch in 1..=400 {
            for key in 0..20 {
                *table.borrow_mut().get_or_insert_with(hash_key(&key), &key, || 0).unwrap() += epoch * key;
            }
            let mut delta = Delta::new(epoch, 0);
            states.begin_seal(epoch, 0, 0).unwrap();
            assert!(states.seal_on(usize::MAX, &mut delta).unwrap());
            thread.published = Epoch(epoch - 1);
            let durable = thread.write(Epoch(epoch), delta, Vec::new()).unwrap();
            if let Some(base) = &durable.base {
                assert!(base.epoch <= epoch);
                bases += 1;
            }
            chain.extend(durable);
            let Chain { base, deltas } = chain.clone();
            manifests.push(Manifest {
                format_version: Manifest::FORMAT_VERSION,
                job: "job".to_owned(),
                epoch,
                incarnation: 7,
                created_ms: 0,
                key_groups: 8,
                states: backend.states(),
                workers: vec![WorkerEntry { base, deltas }],
                finished: false,
            });
        }
        assert!(bases >= 2, "only {bases} bases");
        for manifest in manifests.into_iter().step_by(37) {
            let epoch = manifest.epoch;
            let dir = scratch.path().join(format!("restored-{epoch}"));
            let (manifest, changes) = (Arc::new(manifest), Changes::default());
            let restored = RestoredWorker { manifest, changes, store: Arc::clone(&store) };
            let mut backend = Backend::open(config(&dir), Some(restored)).unwrap();
            let table = backend.value_table::<u64, u64>(spec()).unwrap();
            for key in 0..20 {
                let sum = table.borrow_mut().get(hash_key(&key), &key).unwrap().copied();
                assert_eq!(sum, Some((1..=epoch).sum::<u64>() * key), "key {key} at epoch {epoch}");
            }
        }
    }
}
