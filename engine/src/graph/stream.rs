//! The graph of a worker while it is being built, and the streams in it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::operators::Concatenate;
use timely::dataflow::{Scope, Stream as TimelyStream};

use crate::clock::Clock;
use crate::error::JobError;
use crate::metrics::OperatorMetrics;
use crate::record::{Data, DeadLetter, Record};
use crate::time::{Epoch, Moment};
use crate::worker::Shared;

type Inner<'s, D> = TimelyStream<'s, Moment, Vec<Record<D>>>;

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
    dead_letters: Vec<Inner<'s, DeadLetter>>,
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
        self.stream(self.scope.concatenate(streams))
    }

    /// Returns the index of this worker among all workers of the job.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.context.worker
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

    /// Returns the counters of an operator that is built outside the engine.
    #[must_use]
    pub fn metrics(&self, name: &str, kind: &'static str) -> Arc<OperatorMetrics> {
        self.context.process.metrics.operator(name, kind, self.context.worker)
    }

    pub(crate) fn scope(&self) -> Scope<'s, Moment> {
        self.scope
    }

    pub(crate) fn context(&self) -> &Shared {
        &self.context
    }

    pub(crate) fn stream<D>(&self, inner: Inner<'s, D>) -> Stream<'s, D> {
        Stream { flow: self.clone(), inner }
    }

    pub(crate) fn add_dead_letters(&self, inner: Inner<'s, DeadLetter>) {
        self.parts.borrow_mut().dead_letters.push(inner);
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
#[derive(Clone)]
pub struct Stream<'s, D: 'static> {
    pub(crate) flow: Flow<'s>,
    pub(crate) inner: Inner<'s, D>,
}

impl<'s, D: Data> Stream<'s, D> {
    /// Returns the graph that the stream is part of.
    #[must_use]
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }
}
