//! One worker's side of the epochs: who still has to close which epoch, and what was contributed.
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

use super::finish::Finish;
use crate::error::ConnectorError;
use crate::time::Epoch;

/// A piece of work handed to the checkpoint thread.
pub type SinkTask = Box<dyn FnOnce() -> Result<(), ConnectorError> + Send>;

/// What this worker has for one epoch.
pub(crate) struct Contribution {
    /// State changes and small whole values.
    pub(crate) delta: Delta,
    /// Makes prepared output durable, before the delta is written; with the sink it is of.
    pub(crate) flushes: Vec<(String, SinkTask)>,
    /// Makes output visible, after the commit.
    pub(crate) publishes: Vec<(String, SinkTask)>,
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
    exhausted: bool,
}

/// Names a source of this worker among its sources.
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

    /// An operator that will close each epoch once joins, before the job starts.
    pub(crate) fn join(&mut self) {
        self.participants += 1;
    }

    /// A source joins; `activator` wakes it when the epoch ticks.
    pub(crate) fn join_source(&mut self, activator: Activator) -> SourceId {
        self.join();
        self.sources.push(SourceEnd { activator, exhausted: false });
        SourceId(self.sources.len() - 1)
    }

    /// The epoch that sources read for now.
    pub(crate) fn running(&self) -> Epoch {
        self.running
    }

    /// Whether sources may read: every worker has built its graph, and sinks have recovered.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// How the job ends, once that is known.
    pub(crate) fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// The clock ticked: sources end their epoch and begin `epoch`.
    pub(crate) fn tick(&mut self, epoch: Epoch) {
        self.started = true;
        self.running = epoch;
        self.wake_sources();
    }

    /// The job ends: sources end `finish.last` and give up their capabilities.
    pub(crate) fn finish_at(&mut self, finish: Finish) {
        self.finish = Some(finish);
        self.wake_sources();
    }

    /// The manifest of this epoch is there: after the last one sources let go of what they held.
    pub(crate) fn committed(&self, epoch: Epoch) {
        if self.finish.is_some_and(|finish| finish.last == epoch) {
            self.wake_sources();
        }
    }

    fn wake_sources(&self) {
        self.sources.iter().for_each(|source| source.activator.activate());
    }

    /// A source has handed out everything.
    pub(crate) fn exhausted(&mut self, source: SourceId) {
        if let Some(source) = self.sources.get_mut(source.0) {
            source.exhausted = true;
        }
    }

    /// Whether there is anything to read.
    pub(crate) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether all sources of this worker have handed out everything.
    pub(crate) fn all_exhausted(&self) -> bool {
        self.sources.iter().all(|source| source.exhausted)
    }

    /// The delta of an epoch that is still open, for a participant that writes it little by little.
    pub(crate) fn delta(&mut self, epoch: Epoch) -> &mut Delta {
        &mut self.contribution(epoch).delta
    }

    fn contribution(&mut self, epoch: Epoch) -> &mut Contribution {
        let worker = self.worker as u32;
        self.open.entry(epoch).or_insert_with(|| Contribution {
            delta: Delta::new(epoch.0, worker),
            flushes: Vec::new(),
            publishes: Vec::new(),
            closed_by: 0,
        })
    }

    /// A participant closes `epoch`, adding what it has.
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

    /// The epochs that every participant has closed since the last call, in order.
    pub(crate) fn take_complete(&mut self) -> Vec<(Epoch, Contribution)> {
        std::mem::take(&mut self.complete)
    }
}
