//! Operators that need neither key nor state: they handle each record on its own.

use std::rc::Rc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use super::stream::Stream;
use crate::record::{Data, Record};
use crate::time::EventTime;

impl<'s, D: Data> Stream<'s, D> {
    /// Changes the data of each record; its event time stays.
    pub fn map<E: Data>(self, mut f: impl FnMut(D) -> E + 'static) -> Stream<'s, E> {
        self.transform("map", move |record, out| out.push(record.with(&mut f)))
    }

    /// Keeps the records for which `f` returns true.
    #[must_use]
    pub fn filter(self, mut f: impl FnMut(&D) -> bool + 'static) -> Self {
        self.transform("filter", move |record, out| {
            if f(&record.data) {
                out.push(record);
            }
        })
    }

    /// Makes any number of records out of each one; they keep its event time.
    pub fn flat_map<E: Data, I: IntoIterator<Item = E>>(self, mut f: impl FnMut(D) -> I + 'static) -> Stream<'s, E> {
        self.transform("flat_map", move |Record { event_time, arrival, data }, out| {
            out.extend(f(data).into_iter().map(|data| Record { event_time, arrival, data }));
        })
    }

    /// Changes the event time of each record. A record that falls behind the watermark becomes late.
    #[must_use]
    pub fn with_event_time(self, mut f: impl FnMut(&D) -> EventTime + 'static) -> Self {
        self.transform("with_event_time", move |mut record, out| {
            record.event_time = f(&record.data);
            out.push(record);
        })
    }

    /// Calls `f` with each record and passes the record on unchanged.
    #[must_use]
    pub fn inspect(self, mut f: impl FnMut(&Record<D>) + 'static) -> Self {
        self.transform("inspect", move |record, out| {
            f(&record);
            out.push(record);
        })
    }

    /// Merges this stream and another one into one stream.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let Self { flow, inner } = self;
        let both = flow.scope().concatenate([inner, other.inner]);
        flow.stream(both)
    }

    /// Splits the stream into the records for which `f` returns true, and the others.
    #[must_use]
    pub fn split(self, f: impl Fn(&D) -> bool + 'static) -> (Self, Self) {
        let f = Rc::new(f);
        let g = Rc::clone(&f);
        (self.clone().filter(move |d| f(d)), self.filter(move |d| !g(d)))
    }

    /// Builds a stateless operator: `f` turns each record into any number of records.
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
