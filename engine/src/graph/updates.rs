//! Between streams and differential dataflow's collections: records with an event time, updates at a moment.
//!
//! ```text
//! stream of (row, ±n) ── at (epoch, event time) ──▶ collection ── event time of the update ──▶ stream of (row, ±n)
//! ```
//! Differential computes in the product order: of an input changed at (epoch 1, 10) and at (2, 5), a view may change at
//! (2, 10) as well. What is true at an event time is the sum of everything up to it *over all epochs*; it is all there
//! once the watermark has passed that time. Differential's own exchanges are not charged to the budget of records in
//! flight.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe;
use timely::progress::operate::FrontierInterest;

use super::port::moment_of;
use super::stream::{Flow, Stream};
use crate::record::{Data, Record};
use crate::time::{Epoch, EventTime, Moment};

/// Rows that come and go: `D` is there as often as its updates add up to.
pub type Rows<'s, D> = VecCollection<'s, Moment, D, isize>;

/// Changes of one epoch, and the least event time of them.
type EpochChanges<D> = (EventTime, Vec<Record<(D, isize)>>);

/// How far an operator's output has come, on all workers. Cheap to clone.
#[derive(Clone)]
pub struct Progress(probe::Handle<Moment>);

impl Progress {
    /// To be handed to [`Stream::with_progress`]; until then nothing has come anywhere.
    #[must_use]
    pub fn new() -> Self {
        Self(probe::Handle::new())
    }

    /// The watermark there; the end of time where nothing can come any more.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.0.with_frontier(|frontier| Moment::meet_of(&frontier).map_or(EventTime::MAX, |meet| meet.watermark))
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl<'s, D: Data> Stream<'s, D> {
    /// Tells how far this stream has come; whoever is upstream may ask before it is built.
    #[must_use]
    pub fn with_progress(self, progress: &Progress) -> Self {
        let Self { flow, inner } = self;
        flow.stream(inner.probe_with(&progress.0))
    }
}

impl<'s, D: Data> Stream<'s, (D, isize)> {
    /// The rows that these changes add up to. A change holds from its event time on, a late one from the watermark on.
    #[must_use]
    pub fn into_rows(self) -> Rows<'s, D> {
        let Self { flow, inner } = self;
        let mut builder = OperatorBuilder::new("into_rows".to_owned(), flow.scope());
        let mut input = builder.new_input(inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, updates) = builder.new_output::<Vec<(D, Moment, isize)>>();
        builder.build(move |_| {
            let mut out = Vec::new();
            move |_| {
                let mut session = output.activate();
                input.for_each(|capability, records| {
                    let Some(at) = moment_of(&capability) else { return };
                    out.extend(records.drain(..).map(|Record { event_time, data: (row, change), .. }| {
                        (row, Moment::new(at.epoch, event_time.max(at.watermark)), change)
                    }));
                    session.give(&capability, &mut out);
                    out.clear();
                });
            }
        });
        updates.as_collection()
    }
}

impl<'s> Flow<'s> {
    /// The changes of `rows`, with the event times they hold from, but not before `not_before`. An event time may have
    /// several of a row, in any order, on several workers: it is complete once the watermark has passed it.
    pub fn changes<D: Data>(&self, rows: Rows<'s, D>, not_before: EventTime) -> Stream<'s, (D, isize)> {
        let context = Rc::clone(self.context());
        let mut builder = OperatorBuilder::new("changes".to_owned(), self.scope());
        let mut input = builder.new_input(rows.inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, stream) = builder.new_output::<Vec<Record<(D, isize)>>>();
        builder.build(move |_| {
            // By epoch: a message of differential's may have several, and a shell wants to know which.
            let mut by_epoch: BTreeMap<Epoch, EpochChanges<D>> = BTreeMap::new();
            move |_| {
                let arrival = context.process.clock.now();
                let mut session = output.activate();
                input.for_each(|capability, updates| {
                    for (row, at, change) in updates.drain(..) {
                        let (least, records) = by_epoch.entry(at.epoch).or_insert((at.watermark, Vec::new()));
                        *least = at.watermark.min(*least);
                        let event_time = at.watermark.max(not_before);
                        records.push(Record { event_time, arrival, data: (row, change) });
                    }
                    while let Some((epoch, (least, mut records))) = by_epoch.pop_first() {
                        let capability = capability.delayed(&Moment::new(epoch, least), 0);
                        session.give(&capability, &mut records);
                    }
                });
            }
        });
        self.stream(stream)
    }
}
