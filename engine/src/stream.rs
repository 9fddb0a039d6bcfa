//! The typed graph a user builds: a [`Flow`] makes [`Stream`]s, `key_by` makes a [`KeyedStream`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_state::Key;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream as TimelyStream};
use timely::progress::operate::FrontierInterest;

use crate::error::JobError;
use crate::metrics::OperatorMetrics;
use crate::record::{Data, DeadLetter, Record};
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::Shared;

type Inner<'s, D> = TimelyStream<'s, Moment, Vec<Record<D>>>;

/// The graph of one worker while it is built. Cheap to clone.
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

    /// The dead letters of everything built so far. Call it last, and send them to a sink; without
    /// it they are counted and the first ones logged.
    #[must_use]
    pub fn dead_letters(&self) -> Stream<'s, DeadLetter> {
        let streams = std::mem::take(&mut self.parts.borrow_mut().dead_letters);
        self.stream(self.scope.concatenate(streams))
    }

    /// Index of this worker among all workers of the job.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.context.worker
    }

    /// The first epoch of this run: the number tells runs apart whose state is in a checkpoint.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        self.context.first_epoch
    }

    /// Counters of an operator that is built outside the engine.
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

    /// Reserves a name; states, positions and metrics go by it.
    pub(crate) fn claim_name(&self, name: &str) -> Result<Shared, JobError> {
        if name.is_empty() || name.contains('/') {
            return Err(JobError::Invalid(format!("operator name \"{name}\" is empty or has a \"/\" in it")));
        }
        self.context.backend.borrow().check_kept(name, "")?;
        if !self.parts.borrow_mut().names.insert(name.to_owned()) {
            return Err(JobError::Invalid(format!(
                "operator name \"{name}\" is used twice: names tell states apart in checkpoints, give each operator its own"
            )));
        }
        Ok(Rc::clone(&self.context))
    }

    fn next_name(&self, kind: &str) -> String {
        let mut parts = self.parts.borrow_mut();
        parts.unnamed += 1;
        format!("{kind} {}", parts.unnamed)
    }
}

/// Records flowing between operators, on all workers.
#[derive(Clone)]
pub struct Stream<'s, D: 'static> {
    pub(crate) flow: Flow<'s>,
    pub(crate) inner: Inner<'s, D>,
}

impl<'s, D: Data> Stream<'s, D> {
    /// The graph that the stream is part of.
    #[must_use]
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }

    /// Changes each record; its event time stays.
    pub fn map<E: Data>(self, mut f: impl FnMut(D) -> E + 'static) -> Stream<'s, E> {
        self.transform("map", move |record, out| out.push(record.with(&mut f)))
    }

    /// Keeps the records that `f` holds for.
    #[must_use]
    pub fn filter(self, mut f: impl FnMut(&D) -> bool + 'static) -> Self {
        self.transform("filter", move |record, out| {
            if f(&record.data) {
                out.push(record);
            }
        })
    }

    /// Makes any number of records out of each; they keep its event time.
    pub fn flat_map<E: Data, I: IntoIterator<Item = E>>(self, mut f: impl FnMut(D) -> I + 'static) -> Stream<'s, E> {
        self.transform("flat_map", move |Record { event_time, arrival, data }, out| {
            out.extend(f(data).into_iter().map(|data| Record { event_time, arrival, data }));
        })
    }

    /// Changes the event time of each record. One that falls behind the watermark becomes late.
    #[must_use]
    pub fn with_event_time(self, mut f: impl FnMut(&D) -> EventTime + 'static) -> Self {
        self.transform("with_event_time", move |mut record, out| {
            record.event_time = f(&record.data);
            out.push(record);
        })
    }

    /// Looks at each record.
    #[must_use]
    pub fn inspect(self, mut f: impl FnMut(&Record<D>) + 'static) -> Self {
        self.transform("inspect", move |record, out| {
            f(&record);
            out.push(record);
        })
    }

    /// This stream and another one as one.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let Self { flow, inner } = self;
        let both = flow.scope().concatenate([inner, other.inner]);
        flow.stream(both)
    }

    /// The records that `f` holds for, and the others.
    #[must_use]
    pub fn split(self, f: impl Fn(&D) -> bool + 'static) -> (Self, Self) {
        let f = Rc::new(f);
        let g = Rc::clone(&f);
        (self.clone().filter(move |d| f(d)), self.filter(move |d| !g(d)))
    }

    /// Groups the stream by a key: all records of a key meet on the worker that owns its key group.
    pub fn key_by<K: Key>(self, key: impl Fn(&D) -> K + 'static) -> KeyedStream<'s, K, D> {
        KeyedStream { stream: self, key_of: Rc::new(key) }
    }

    /// One stateless operator: each record may leave any number of records behind.
    fn transform<E: Data>(
        self,
        kind: &'static str,
        mut f: impl FnMut(Record<D>, &mut Vec<Record<E>>) + 'static,
    ) -> Stream<'s, E> {
        let Self { flow, inner } = self;
        let name = flow.next_name(kind);
        let metrics = flow.metrics(&name, kind);
        let mut builder = OperatorBuilder::new(name, flow.scope());
        let mut input = builder.new_input(inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, stream) = builder.new_output::<Vec<Record<E>>>();
        builder.build(move |_| {
            let mut out = Vec::new();
            move |_| {
                let _busy = metrics.busy();
                let mut session = output.activate();
                input.for_each(|capability, records| {
                    metrics.records_in.add(records.len() as u64);
                    out.reserve(records.len());
                    records.drain(..).for_each(|record| f(record, &mut out));
                    metrics.records_out.add(out.len() as u64);
                    session.give(&capability, &mut out);
                    out.clear();
                });
            }
        });
        flow.stream(stream)
    }
}

/// A stream grouped by key. Only this has windows, rolling aggregates and state.
pub struct KeyedStream<'s, K: Key, D: Data> {
    pub(crate) stream: Stream<'s, D>,
    pub(crate) key_of: Rc<dyn Fn(&D) -> K>,
}

impl<'s, K: Key, D: Data> KeyedStream<'s, K, D> {
    /// This keyed stream and another one under the same key, for logic with two inputs. The key's
    /// records of both meet in one state. Under [`Order::EventTime`](crate::shell::Order::EventTime) the logic orders records of the
    /// same event time by its `tie_break`.
    #[must_use]
    pub fn connect<E: Data>(self, other: KeyedStream<'s, K, E>) -> KeyedStream<'s, K, Either<D, E>> {
        let (first, second) = (self.key_of, other.key_of);
        KeyedStream {
            stream: self.stream.map(Either::First).union(other.stream.map(Either::Second)),
            key_of: Rc::new(move |either| match either {
                Either::First(data) => first(data),
                Either::Second(data) => second(data),
            }),
        }
    }
}

/// A record of one of two connected streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Either<A, B> {
    /// Of the stream that `connect` was called on.
    First(A),
    /// Of the other one.
    Second(B),
}
