//! The checkpoint thread of a worker, which does all blocking work of a checkpoint.
//!
//! Each worker has one thread with one queue, so that deltas reach RocksDB in the order of epochs. Output is published by
//! other threads ([`publishing`](super::publishing)).
//!
//! If somebody removes checkpoint files while the job runs, the next restore is impossible, but the state is still
//! whole in memory and RocksDB. So the thread checks, at each epoch, whether the files that its chain names exist;
//! if they do not, it warns, counts, and writes a base (and deltas with unpublished output) anew, with the same
//! epoch.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tidemill_state::{
    BaseEntry, Db, Delta, DeltaEntry, Manifest, Pruning, RowSnapshot, StateError, Watch, WorkerEntry,
};

use super::bases::{BasePolicy, SinceBase};
use super::blobs::Blob;
use super::history::Part;
use super::leader::Chain;
use super::protocol::{Durable, Unpublished};
use super::target::{Target, Written};
use crate::crash;
use crate::epoch::SinkTask;
use crate::error::{JobError, panic_text};
use crate::place::Place;
use crate::spans::{Kind, Tracer, Value};
use crate::threads;
use crate::time::Epoch;

/// What a worker begins with.
pub(crate) struct Restored {
    /// The restored epoch, whose output the sinks have published by now; 0 if nothing was restored.
    pub(crate) epoch: Epoch,
    /// The files of the restored checkpoint that are this worker's state, and to which it adds deltas. `None` if
    /// there are no such files: then the first epoch after a restore makes a base, before it can be committed.
    pub(crate) files: Option<WorkerEntry>,
}

/// A command of the worker to its thread.
pub(crate) enum Command {
    /// Make sink output durable, then the delta.
    Write { epoch: Epoch, delta: Box<Delta>, flushes: Vec<(String, SinkTask)>, unpublished: Unpublished },
    /// Write the manifest, which is the commit.
    Commit(Box<Manifest>),
}

/// An answer of the thread.
pub(crate) enum Answer {
    Durable(Durable),
    Committed(Epoch),
    Failed(JobError),
}

/// The worker's handle to its thread.
pub(crate) struct CheckpointThread {
    commands: Option<Sender<Command>>,
    answers: Receiver<Answer>,
    handle: Option<threads::Handle<()>>,
}

impl CheckpointThread {
    /// Starts the thread; its answers wake the calling thread, which must be that of the worker. The thread drops `life`
    /// when it ends, however that comes about.
    pub(crate) fn start(
        worker: u32,
        db: Arc<Db>,
        target: Option<Target>,
        restored: Restored,
        policy: BasePolicy,
        written: Written,
        life: Box<dyn Any + Send>,
    ) -> Result<Self, JobError> {
        let Restored { epoch, files } = restored;
        let (commands, queue) = crossbeam_channel::unbounded();
        let (answer, answers) = crossbeam_channel::unbounded();
        let pruning = target.as_ref().map(|target| Pruning::new(target.retention));
        let mut thread = CheckpointWork {
            worker,
            db,
            target,
            base_due: epoch.0 > 0 && files.is_none(),
            since_base: files.as_ref().map_or_else(|| SinceBase::now(0), SinceBase::restored),
            taking: None,
            policy,
            chain: Chain(files.unwrap_or_default()),
            unpublished: VecDeque::new(),
            watch: Watch::default(),
            pruning,
            written,
            answer: Answers { answer, wake: std::thread::current() },
            tracer: Place::tracer_here().map(|(tracer, _)| tracer),
        };
        let serve = move || {
            let _life = life;
            thread.serve(&queue);
        };
        let handle = threads::spawn(format!("checkpoint-{worker}"), serve)
            .map_err(|source| JobError::Io { what: "start the checkpoint thread".to_owned(), source })?;
        Ok(Self { commands: Some(commands), answers, handle: Some(handle) })
    }

    pub(crate) fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A closed queue means that the thread has failed, and has answered so.
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
    since_base: SinceBase,
    taking: Option<threads::Handle<Result<RowSnapshot, StateError>>>,
    policy: BasePolicy,
    /// The files of this worker in the next manifest; the leader has the same.
    chain: Chain,
    /// The deltas with output that may be unpublished, which a base does not contain.
    unpublished: VecDeque<Arc<Delta>>,
    watch: Watch,
    pruning: Option<Pruning>,
    written: Written,
    answer: Answers,
    /// Records spans, if the job sends them to a collector.
    tracer: Option<Arc<Tracer>>,
}

impl CheckpointWork {
    fn serve(&mut self, queue: &Receiver<Command>) {
        while let Some(command) = threads::receive(queue) {
            let commits = matches!(command, Command::Commit(_));
            let answer = self.handle(command).unwrap_or_else(Answer::Failed);
            let mut failed = matches!(answer, Answer::Failed(_));
            self.answer.give(answer);
            // Pruning comes after the answer, since nobody waits for it.
            if commits
                && !failed
                && let Err(error) = self.prune()
            {
                failed = true;
                self.answer.give(Answer::Failed(error));
            }
            if failed {
                break;
            }
        }
        // The snapshot thread works in a directory that is removed when the job ends. Nobody needs its base any more.
        if let Some(taking) = self.taking.take() {
            self.db.give_up();
            drop(taking.join());
        }
    }

    fn handle(&mut self, command: Command) -> Result<Answer, JobError> {
        match command {
            Command::Write { epoch, delta, flushes, unpublished } => {
                self.write(epoch, *delta, flushes, unpublished).map(Answer::Durable)
            }
            Command::Commit(manifest) => self.commit(&manifest),
        }
    }

    fn write(
        &mut self,
        epoch: Epoch,
        delta: Delta,
        flushes: Vec<(String, SinkTask)>,
        unpublished: Unpublished,
    ) -> Result<Durable, JobError> {
        let began = threads::now();
        crash::point("before-flush", epoch, self.worker as usize);
        run(flushes)?;
        self.note(epoch, ("flush", threads::since(began)), |part, took| part.flush = took);
        let began = threads::now();
        let (worker, rewritten) = (self.worker, Vec::new());
        let mut durable = Durable { worker, epoch, delta: None, base: None, rewritten, unpublished };
        let delta = Arc::new(delta);
        self.db.push(Arc::clone(&delta))?;
        let Some(Target { store, incarnation, .. }) = &self.target else { return Ok(durable) };
        let entry: DeltaEntry = delta.store(store.as_ref(), *incarnation)?;
        crash::point("after-delta", epoch, self.worker as usize);
        self.written.delta_bytes.fetch_add(entry.len, Ordering::Relaxed);
        // Asked here, by a thread that waits for this disk anyhow: a disk that hangs must not hang `/metrics`.
        if let Some(free) = store.free_bytes() {
            self.written.free_bytes.get_or_init(AtomicU64::default).store(free, Ordering::Relaxed);
        }
        self.note(epoch, ("write delta", threads::since(began)), |part, took| {
            (part.write, part.delta_bytes) = (took, entry.len);
        });
        self.since_base.delta_bytes += entry.len;
        self.since_base.deltas += 1;
        durable.delta = Some(entry);
        self.unpublished.push_back(delta);
        self.unpublished.retain(|delta| durable.unpublished.has(Epoch(delta.epoch())));
        self.keep_only_output(durable.unpublished.committed);
        durable.rewritten = self.replace_lost_files(epoch)?;
        durable.base = self.base_if_due(epoch)?;
        self.chain.extend(durable.clone());
        Ok(durable)
    }

    /// Records how long a phase of this worker's part of the checkpoint of `epoch` took, which ends now.
    fn note(
        &self,
        epoch: Epoch,
        (phase, took): (&'static str, Duration),
        note: impl FnOnce(&mut Part, Option<Duration>),
    ) {
        self.written.history.note(epoch, self.worker, |part| note(part, Some(took)));
        if let Some(tracer) = &self.tracer {
            tracer.part(epoch.0, (phase, Kind::Internal), took, vec![("tidemill.worker", self.worker())], None);
        }
    }

    /// Drops the changes of state from the deltas of epochs that have been committed for long: a base has them by the time
    /// they are needed, and they may be many while a sink does not publish.
    fn keep_only_output(&mut self, committed: Epoch) {
        for delta in
            self.unpublished.iter_mut().take_while(|delta| delta.epoch() + Manifest::MAX_OPEN_EPOCHS < committed.0)
        {
            if delta.ops_len() > 0 {
                *delta = Arc::new(delta.only_blobs(Blob::is_output));
            }
        }
    }

    /// Returns the worker, as spans have it.
    fn worker(&self) -> Value {
        u64::from(self.worker).into()
    }

    /// Makes sure that the checkpoint of `epoch` will be whole, even if files of it were removed or truncated. Returns the
    /// deltas that are written anew.
    fn replace_lost_files(&mut self, epoch: Epoch) -> Result<Vec<DeltaEntry>, JobError> {
        let Some(Target { store, incarnation, .. }) = &self.target else { return Ok(Vec::new()) };
        let lost = self.watch.look(store.as_ref(), &self.chain.0)?;
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let files: Vec<&str> = lost.iter().map(|lost| lost.what.as_str()).collect();
        tracing::warn!(
            epoch = epoch.0,
            worker = self.worker,
            files = files.join("; "),
            "checkpoint files were removed or truncated while the job runs: checkpoints before this epoch may be incomplete; a new base snapshot replaces these files"
        );
        self.written.lost_files.fetch_add(lost.len() as u64, Ordering::Relaxed);
        let mut rewritten = Vec::new();
        for delta in &self.unpublished {
            if lost.iter().any(|lost| lost.delta_of == Some(delta.epoch())) {
                rewritten.push(delta.store(store.as_ref(), *incarnation)?);
            }
        }
        self.base_due = true;
        Ok(rewritten)
    }

    /// Returns a base snapshot to be stored with `epoch`, if one is due or finished. One that is due, because files
    /// were lost or no files have the restored state as it is now, is of the end of this epoch; any other is of the
    /// end of an earlier epoch, because it is taken on another thread while epochs are committed.
    fn base_if_due(&mut self, epoch: Epoch) -> Result<Option<BaseEntry>, JobError> {
        let Some(Target { store, incarnation, .. }) = &self.target else { return Ok(None) };
        let due = std::mem::take(&mut self.base_due);
        let taken = self.taking.take_if(|taking| due || taking.is_finished()).map(joined).transpose()?;
        let snapshot = match taken {
            Some(earlier) if due => {
                // It is of an earlier epoch, and the deltas since then may be among the lost files.
                earlier.discard()?;
                self.db.snapshot()?
            }
            None if due => self.db.snapshot()?,
            Some(taken) => taken,
            None => {
                self.begin_base_if_asked()?;
                return Ok(None);
            }
        };
        let began = threads::now();
        let base = snapshot.store(store.as_ref(), epoch.0, self.worker, *incarnation)?;
        self.note(epoch, ("write base", threads::since(began)), |part, took| part.base = took);
        tracing::debug!(of = base.epoch, epoch = epoch.0, worker = self.worker, "base snapshot");
        let bytes = base.files.iter().map(|file| file.len).sum();
        if due {
            self.since_base = SinceBase::now(bytes);
        }
        self.since_base.base_bytes = bytes;
        Ok(Some(base))
    }

    fn begin_base_if_asked(&mut self) -> Result<(), JobError> {
        let asked = self.policy.asks_for_one(&self.since_base) || self.db.waits_for_base();
        if self.taking.is_some() || !asked {
            return Ok(());
        }
        let db = Arc::clone(&self.db);
        let failed = |source| JobError::Io { what: "start the snapshot thread".to_owned(), source };
        let steps_back = !self.policy.is_overdue(&self.since_base);
        let take = move || {
            if steps_back {
                threads::step_back(threads::Priority::Lowest);
            }
            db.snapshot()
        };
        self.taking = Some(threads::spawn(format!("snapshot-{}", self.worker), take).map_err(failed)?);
        self.since_base = SinceBase::now(self.since_base.base_bytes);
        Ok(())
    }

    fn commit(&mut self, manifest: &Manifest) -> Result<Answer, JobError> {
        if let Some(Target { store, .. }) = &self.target {
            crash::point("before-manifest", Epoch(manifest.epoch), self.worker as usize);
            let began = threads::now();
            manifest.commit(store.as_ref())?;
            let phase = ("write manifest", threads::since(began));
            self.note(Epoch(manifest.epoch), phase, |part, took| part.manifest = took);
            crash::point("after-manifest", Epoch(manifest.epoch), self.worker as usize);
            self.pruning.iter_mut().for_each(|pruning| pruning.committed(manifest));
        }
        Ok(Answer::Committed(Epoch(manifest.epoch)))
    }

    /// Deletes checkpoints that are older than those to be kept, and warns of manifests that are already lost.
    fn prune(&mut self) -> Result<(), JobError> {
        let (Some(Target { store, .. }), Some(pruning)) = (&self.target, &mut self.pruning) else { return Ok(()) };
        let lost = pruning.prune(store.as_ref())?;
        if !lost.is_empty() {
            tracing::warn!(
                epochs = ?lost,
                "manifests were removed or damaged while the job runs: these epochs can no longer be restored"
            );
            self.written.lost_files.fetch_add(lost.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn joined(taking: threads::Handle<Result<RowSnapshot, StateError>>) -> Result<RowSnapshot, JobError> {
    let panicked = |panic: Box<dyn Any + Send>| {
        StateError::Internal(format!("the snapshot thread panicked ({})", panic_text(&*panic)))
    };
    Ok(taking.join().map_err(panicked)??)
}

fn run(tasks: impl IntoIterator<Item = (String, SinkTask)>) -> Result<(), JobError> {
    tasks.into_iter().try_for_each(|(sink, task)| task().map_err(|e| JobError::of_connector(&sink, e)))
}

#[cfg(test)]
mod tests;
