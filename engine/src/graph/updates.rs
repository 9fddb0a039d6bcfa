//! Conversion between streams and differential dataflow's collections: records with an event time become updates at a
//! moment, and the reverse.
//!
//! ```text
//! stream of (row, ±n) ── at (epoch, event time) ──▶ collection ── event time of the update ──▶ stream of (row, ±n)
//! ```
//! Differential computes in the product order: if an input changes at (epoch 1, 10) and at (2, 5), a view of it
//! may change at (2, 10) as well. The rows at an event time are the sum of all changes up to it *over all epochs*;
//! that sum is complete once the watermark has passed that time. Differential's own exchanges are not charged to
//! the budget of records in flight.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe;
use timely::progress::operate::FrontierInterest;

use super::node::moment_of;
use super::stream::{Flow, Stream};
use crate::packet::Packet;
use crate::record::{Data, Record};
use crate::time::{Epoch, EventTime, Moment};

/// A changing multiset of rows: a row `D` is in it as often as its updates add up to.
pub type Rows<'s, D> = VecCollection<'s, Moment, D, isize>;

/// The changes of one epoch, with their least event time in front.
type EpochChanges<D> = (EventTime, Vec<Record<(D, isize)>>);

/// A handle to the progress of a stream: the watermark it has reached on all workers. Cheap to clone.
#[derive(Clone)]
pub struct Progress(probe::Handle<Moment>);

impl Progress {
    /// Makes a handle to be passed to [`Stream::with_progress`], which connects it to a stream.
    #[must_use]
    pub fn new() -> Self {
        Self(probe::Handle::new())
    }

    /// Returns the watermark of the stream; [`EventTime::MAX`] when no record can come any more.
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
    /// Reports the progress of this stream to `progress`. Operators upstream can be given the same handle before this
    /// stream is built.
    #[must_use]
    pub fn with_progress(self, progress: &Progress) -> Self {
        let from = self.packets.name().node;
        let packets = self.packets.probe_with(&progress.0);
        self.flow.wires().join(&[from], packets.name().node, false);
        self.flow.stream(packets)
    }
}

impl<'s, D: Data> Stream<'s, (D, isize)> {
    /// Returns the rows that these changes add up to. A change takes effect at its event time, a late one at the
    /// watermark.
    #[must_use]
    pub fn into_rows(self) -> Rows<'s, D> {
        let name = "into_rows";
        let context = Rc::clone(self.flow.context());
        let mut builder = OperatorBuilder::new(name.to_owned(), self.flow.scope());
        self.flow.wires().enter_tables(self.packets.name().node, builder.index());
        let mut input = builder.new_input(self.packets, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, updates) = builder.new_output::<Vec<(D, Moment, isize)>>();
        builder.build(move |_| {
            move |_| {
                let mut session = output.activate();
                input.for_each(|capability, packet| {
                    let Some(at) = moment_of(&capability) else { return };
                    let Some(records) = context.guard(std::mem::take(packet).open::<(D, isize)>(name)) else { return };
                    let update = |Record { event_time, data: (row, change), .. }| {
                        (row, Moment::new(at.epoch, event_time.max(at.watermark)), change)
                    };
                    session.give(&capability, &mut records.into_iter().map(update).collect());
                });
            }
        });
        updates.as_collection()
    }
}

impl<'s> Flow<'s> {
    /// Returns the changes of `rows`. The event time of each is when it takes effect, or `not_before` if that is
    /// later. A row may have several changes at one event time, in any order and on several workers: they are
    /// complete once the watermark has passed that time.
    pub fn changes<D: Data>(&self, rows: Rows<'s, D>, not_before: EventTime) -> Stream<'s, (D, isize)> {
        let context = Rc::clone(self.context());
        let mut builder = OperatorBuilder::new("changes".to_owned(), self.scope());
        self.wires().leave_tables(builder.index());
        let mut input = builder.new_input(rows.inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, stream) = builder.new_output::<Packet>();
        builder.build(move |_| {
            // By epoch: a message from differential may have updates of several, and operators downstream need to
            // know the epoch of each.
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
                    while let Some((epoch, (least, records))) = by_epoch.pop_first() {
                        let capability = capability.delayed(&Moment::new(epoch, least), 0);
                        session.give(&capability, &mut Packet::of(records));
                    }
                });
            }
        });
        self.stream(stream)
    }
}
