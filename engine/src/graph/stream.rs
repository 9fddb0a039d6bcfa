//! The graph of a worker while it is being built, and the streams in it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tidemill_state::{Key, hash_key};
use timely::dataflow::Scope;
use timely::dataflow::operators::Concatenate;

use super::node::{Node, Packets};
use super::wires::Wires;
use crate::board::Board;
use crate::clock::Clock;
use crate::control::Controlled;
use crate::control::switchboard::Past;
use crate::error::JobError;
use crate::metrics::OperatorMetrics;
use crate::record::{Data, DeadLetter};
use crate::time::{Epoch, Moment};
use crate::worker::Shared;

/// The graph of one worker while it is being built. Cheap to clone.
#[derive(Clone)]
pub struct Flow<'s> {
    scope: Scope<'s, Moment>,
    context: Shared,
    parts: Rc<RefCell<GraphParts<'s>>>,
}

#[derive(Default)]
struct GraphParts<'s> {
    names: BTreeSet<String>,
    unnamed: usize,
    dead_letters: Vec<Packets<'s>>,
    wires: Wires,
}

impl<'s> Flow<'s> {
    pub(crate) fn new(scope: Scope<'s, Moment>, context: Shared) -> Self {
        Self { scope, context, parts: Rc::default() }
    }

    /// Returns the dead letters of all operators built so far. Call it last, and send them to a sink;
    /// without this, dead letters are only counted and the first ones logged.
    #[must_use]
    pub fn dead_letters(&self) -> Stream<'s, DeadLetter> {
        let streams = std::mem::take(&mut self.parts.borrow_mut().dead_letters);
        self.stream(self.concatenate(streams, true))
    }

    /// Returns the index of this worker among all workers of the job.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.context.worker
    }

    /// Returns the function that says which worker of the job owns a key.
    #[doc(hidden)]
    pub fn owner<K: Key>(&self) -> impl Fn(&K) -> usize + use<K> {
        let (key_groups, workers) = (self.context.worker_state.borrow().key_groups(), self.context.workers);
        move |key| key_groups.worker_of(key_groups.of_hash(hash_key(key)), workers)
    }

    /// Returns the number of workers of this process.
    #[must_use]
    pub fn workers_here(&self) -> usize {
        self.context.threads
    }

    /// Returns the index of this worker's process among the processes of the job.
    #[must_use]
    pub fn process(&self) -> usize {
        self.context.process_of(self.context.worker)
    }

    /// Returns the job's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.context.process.clock.clone()
    }

    /// Returns the first epoch of this run. The number distinguishes the runs whose state is in a checkpoint.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        self.context.first_epoch
    }

    /// Returns the directory of the checkpoints, if the job has one.
    #[must_use]
    pub fn checkpoint_dir(&self) -> Option<&Path> {
        self.context.process.checkpoints_at.dir.as_deref()
    }

    /// Returns the number of checkpoints that the job keeps.
    #[must_use]
    pub fn retained_checkpoints(&self) -> usize {
        self.context.process.checkpoints_at.keep
    }

    /// Returns the counters of an operator that is built outside the engine.
    #[must_use]
    pub fn metrics(&self, name: &str, kind: &'static str) -> Arc<OperatorMetrics> {
        self.context.process.metrics.operator(name, kind, self.context.worker)
    }

    /// Returns where an operator shows its last findings on a topic: `drift` is in `/api/v1/drift` and on the page. The
    /// workers of this process share it.
    #[must_use]
    pub fn board(&self, topic: &str, operator: &str) -> Board {
        self.context.process.boards.of(topic, operator)
    }

    /// Returns what the workers of this process share of an operator that can be changed while the job runs. The first
    /// worker makes it, and makes the changes that the restored checkpoint has of it.
    ///
    /// # Errors
    /// When `make` fails, or a change of the checkpoint cannot be made any more.
    pub fn controlled<C: Controlled>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<C, JobError>,
    ) -> Result<Arc<C>, JobError> {
        let context = &self.context;
        let past = Past {
            first: context.first_epoch,
            log: &context.start.control,
            seen: context.restored.seen(name),
            leads: context.process_of(context.worker) == 0,
        };
        context.process.control.share(name, &past, make)
    }

    /// Returns what the workers of this process share of an operator that was built before, and can be changed while the
    /// job runs.
    #[must_use]
    #[doc(hidden)]
    pub fn find_controlled<C: Controlled>(&self, name: &str) -> Option<Arc<C>> {
        self.context.process.control.shared(name)
    }

    /// Merges streams; `dead_letters` says whether that is what they carry.
    pub(super) fn concatenate(&self, streams: Vec<Packets<'s>>, dead_letters: bool) -> Packets<'s> {
        let from: Vec<usize> = streams.iter().map(|stream| stream.name().node).collect();
        let together = self.scope.concatenate(streams);
        self.wires().join(&from, together.name().node, dead_letters);
        together
    }

    pub(super) fn wires(&self) -> Wires {
        self.parts.borrow().wires.clone()
    }

    /// Publishes the graph of the job, once it is built, for the page.
    pub(crate) fn publish(&self) {
        let process = &self.context.process;
        process.topology.get_or_init(|| {
            let operators = process.metrics.snapshot().into_iter().map(|operator| (operator.name, operator.kind));
            self.wires().wiring().topology(operators)
        });
    }

    /// Begins to build an operator. It must not be abandoned.
    pub(crate) fn node(&self, name: &str) -> Node<'s> {
        Node::new(name, self.scope, self.wires(), self.context.process.taps.of(name))
    }

    #[cfg(feature = "tables")]
    pub(crate) fn scope(&self) -> Scope<'s, Moment> {
        self.scope
    }

    pub(crate) fn context(&self) -> &Shared {
        &self.context
    }

    /// Returns the stream of `packets`, all of which have records of `D`.
    pub(crate) fn stream<D>(&self, packets: Packets<'s>) -> Stream<'s, D> {
        Stream { flow: self.clone(), packets, data: PhantomData }
    }

    /// Adds the dead letters of an operator to those of the job.
    pub(crate) fn add_dead_letters(&self, packets: Packets<'s>) {
        self.parts.borrow_mut().dead_letters.push(packets);
    }

    /// Reserves a name, under which states, positions and metrics are recorded.
    pub(crate) fn claim_name(&self, name: &str) -> Result<Shared, JobError> {
        if name.is_empty() || name.contains('/') {
            return Err(JobError::Invalid(format!("operator name \"{name}\" is empty or has a \"/\" in it")));
        }
        self.context.worker_state.borrow().check_kept(name, "")?;
        if !self.parts.borrow_mut().names.insert(name.to_owned()) {
            return Err(JobError::Invalid(format!(
                "operator name \"{name}\" is used twice: checkpoints identify states by it; give each operator a name of its own"
            )));
        }
        Ok(Rc::clone(&self.context))
    }

    pub(super) fn next_name(&self, kind: &str) -> String {
        let mut parts = self.parts.borrow_mut();
        parts.unnamed += 1;
        format!("{kind} {}", parts.unnamed)
    }
}

/// A stream of records between operators, on all workers.
pub struct Stream<'s, D: 'static> {
    pub(crate) flow: Flow<'s>,
    pub(crate) packets: Packets<'s>,
    data: PhantomData<fn() -> D>,
}

impl<D> Clone for Stream<'_, D> {
    fn clone(&self) -> Self {
        self.flow.stream(self.packets.clone())
    }
}

impl<'s, D: Data> Stream<'s, D> {
    /// Returns the graph that the stream is part of.
    #[must_use]
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }
}
