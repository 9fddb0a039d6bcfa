//! The epochs of one worker: which participants still have to close an epoch, and their contributions to it.
//!
//! ```text
//! source: positions ─┐
//! shell:  sealed state ─┼─▶ Contribution of epoch e ── all participants closed e ─▶ checkpoint thread
//! sink:   staged output ┘
//! ```
//! Everything here is local to a worker thread; the coordinator carries messages between workers.

use std::collections::BTreeMap;

use tidemill_state::Delta;
use timely::scheduling::Activator;

use super::backlog::{SinkTask, StagedOutput};
use super::finish::Finish;
use crate::time::Epoch;

/// The contribution of this worker to one epoch.
pub(crate) struct Contribution {
    /// The changes of state, and small values that are stored whole.
    pub(crate) delta: Delta,
    /// The tasks that make prepared output durable before the delta is written, each with the name of its sink.
    pub(crate) flushes: Vec<(String, SinkTask)>,
    /// The output that is made visible after the commit.
    pub(crate) staged: Vec<StagedOutput>,
    closed_by: usize,
}

/// The epochs of one worker.
pub(crate) struct Epochs {
    worker: usize,
    participants: usize,
    sources: Vec<SourceEnd>,
    open: BTreeMap<Epoch, Contribution>,
    complete: Vec<(Epoch, Contribution)>,
    running: Epoch,
    started: bool,
    finish: Option<Finish>,
}

struct SourceEnd {
    activator: Activator,
    /// Whether it is a source.
    reads: bool,
    is_done: bool,
    exhausted: bool,
}

/// The number of a source among the sources of this worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceId(usize);

impl Epochs {
    pub(crate) fn new(worker: usize, first: Epoch) -> Self {
        Self {
            worker,
            participants: 0,
            sources: Vec::new(),
            open: BTreeMap::new(),
            complete: Vec::new(),
            running: first,
            started: false,
            finish: None,
        }
    }

    /// Adds a participant, an operator that closes each epoch once, before the job starts.
    pub(crate) fn join(&mut self) {
        self.participants += 1;
    }

    /// Adds a source as a participant; `activator` wakes it when the epoch ticks.
    pub(crate) fn join_source(&mut self, activator: Activator) -> SourceId {
        self.join_end(activator, true)
    }

    /// Adds an operator as a participant for which the end of the job waits, as it does for a source.
    pub(crate) fn join_waiting(&mut self, activator: Activator) -> SourceId {
        self.join_end(activator, false)
    }

    fn join_end(&mut self, activator: Activator, reads: bool) -> SourceId {
        self.join();
        self.sources.push(SourceEnd { activator, reads, exhausted: false, is_done: false });
        SourceId(self.sources.len() - 1)
    }

    /// Returns the epoch for which sources read now.
    pub(crate) fn running(&self) -> Epoch {
        self.running
    }

    /// Returns whether sources may read: every worker has built its graph, and sinks have recovered.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Returns how the job ends, once that is known.
    pub(crate) fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Handles a tick of the checkpoint clock: sources end their epoch and begin `epoch`.
    pub(crate) fn tick(&mut self, epoch: Epoch) {
        self.started = true;
        self.running = epoch;
        self.wake_sources();
    }

    /// Handles the end of the job: sources end `finish.last` and drop their capabilities.
    pub(crate) fn finish_at(&mut self, finish: Finish) {
        self.finish = Some(finish);
        self.wake_sources();
    }

    /// Handles the commit of an epoch: after that of the last one sources drop the capabilities that they still have.
    pub(crate) fn committed(&self, epoch: Epoch) {
        if self.finish.is_some_and(|finish| finish.last == epoch) {
            self.wake_sources();
        }
    }

    /// Wakes the sources that are done, which follow the watermarks of others.
    pub(crate) fn wake_done(&self) {
        self.sources.iter().filter(|source| source.is_done).for_each(|source| source.activator.activate());
    }

    fn wake_sources(&self) {
        self.sources.iter().for_each(|source| source.activator.activate());
    }

    /// Marks a source as exhausted: it has handed out everything.
    pub(crate) fn exhausted(&mut self, source: SourceId) {
        self.set_exhausted(source, true);
    }

    /// Marks a source as done: it will not even look for more.
    pub(crate) fn done(&mut self, source: SourceId) {
        self.set_exhausted(source, true);
        if let Some(source) = self.sources.get_mut(source.0) {
            source.is_done = true;
        }
    }

    /// Says whether the end of the job need not wait for a source, or for an operator that joined as one.
    pub(crate) fn set_exhausted(&mut self, source: SourceId, exhausted: bool) {
        if let Some(source) = self.sources.get_mut(source.0) {
            source.exhausted = exhausted;
        }
    }

    /// Returns whether this worker has sources.
    pub(crate) fn has_sources(&self) -> bool {
        self.sources.iter().any(|source| source.reads)
    }

    /// Returns whether all sources of this worker have handed out everything, and no operator has the end wait.
    pub(crate) fn all_exhausted(&self) -> bool {
        self.sources.iter().all(|source| source.exhausted)
    }

    /// Returns whether all sources of this worker have handed out everything.
    pub(crate) fn is_read(&self) -> bool {
        self.sources.iter().all(|source| source.exhausted || !source.reads)
    }

    /// Returns the delta of an epoch that is still open, for a participant that writes to it in slices.
    pub(crate) fn delta(&mut self, epoch: Epoch) -> &mut Delta {
        &mut self.contribution(epoch).delta
    }

    fn contribution(&mut self, epoch: Epoch) -> &mut Contribution {
        let worker = self.worker as u32;
        self.open.entry(epoch).or_insert_with(|| Contribution {
            delta: Delta::new(epoch.0, worker),
            flushes: Vec::new(),
            staged: Vec::new(),
            closed_by: 0,
        })
    }

    /// Closes `epoch` for one participant, which adds its contribution.
    pub(crate) fn close<E>(
        &mut self,
        epoch: Epoch,
        contribute: impl FnOnce(&mut Contribution) -> Result<(), E>,
    ) -> Result<(), E> {
        let participants = self.participants;
        let contribution = self.contribution(epoch);
        contribute(contribution)?;
        contribution.closed_by += 1;
        debug_assert!(contribution.closed_by <= participants, "epoch {epoch} closed twice by someone");
        if contribution.closed_by == participants
            && let Some(contribution) = self.open.remove(&epoch)
        {
            self.complete.push((epoch, contribution));
        }
        Ok(())
    }

    /// Returns the epochs that all participants have closed since the last call, in order.
    pub(crate) fn take_complete(&mut self) -> Vec<(Epoch, Contribution)> {
        std::mem::take(&mut self.complete)
    }
}
