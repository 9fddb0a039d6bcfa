//! Operators that need neither key nor state: they handle each record on its own.

use std::sync::Arc;

use timely::progress::operate::FrontierInterest;

use super::node::{Input, Node, Output, Packets};
use super::stream::{Flow, Stream};
use crate::error::JobError;
use crate::metrics::OperatorMetrics;
use crate::packet::Packet;
use crate::record::{Data, Record};
use crate::time::EventTime;
use crate::worker::Shared;

impl<'s, D: Data> Stream<'s, D> {
    /// Changes the data of each record; its event time stays.
    pub fn map<E: Data>(self, mut f: impl FnMut(D) -> E + 'static) -> Stream<'s, E> {
        self.transform("map", move |records| records.into_iter().map(|record| record.with(&mut f)).collect())
    }

    /// Keeps the records for which `f` returns true.
    #[must_use]
    pub fn filter(self, mut f: impl FnMut(&D) -> bool + 'static) -> Self {
        self.transform("filter", move |mut records| {
            records.retain(|record| f(&record.data));
            records
        })
    }

    /// Makes any number of records out of each one; they keep its event time.
    pub fn flat_map<E: Data, I: IntoIterator<Item = E>>(self, mut f: impl FnMut(D) -> I + 'static) -> Stream<'s, E> {
        self.transform("flat_map", move |records| {
            let mut out = Vec::with_capacity(records.len());
            for Record { event_time, arrival, data } in records {
                out.extend(f(data).into_iter().map(|data| Record { event_time, arrival, data }));
            }
            out
        })
    }

    /// Changes the event time of each record. A record that falls behind the watermark becomes late.
    #[must_use]
    pub fn with_event_time(self, mut f: impl FnMut(&D) -> EventTime + 'static) -> Self {
        self.transform("with_event_time", move |mut records| {
            records.iter_mut().for_each(|record| record.event_time = f(&record.data));
            records
        })
    }

    /// Calls `f` with each record and passes the record on unchanged.
    #[must_use]
    pub fn inspect(self, mut f: impl FnMut(&Record<D>) + 'static) -> Self {
        self.transform("inspect", move |records| {
            records.iter().for_each(&mut f);
            records
        })
    }

    /// Merges this stream and another one into one stream.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let both = self.flow.concatenate(vec![self.packets, other.packets], false);
        self.flow.stream(both)
    }

    /// Splits the stream into the records for which `f` returns true, and the others.
    #[must_use]
    pub fn split(self, f: impl Fn(&D) -> bool + 'static) -> (Self, Self) {
        let each = move |packet: Packet, name: &str, send: &mut dyn FnMut(Packet, usize)| {
            let (yes, no) = packet.open::<D>(name)?.into_iter().partition(|record| f(&record.data));
            send(Packet::of::<D>(yes), 0);
            send(Packet::of::<D>(no), 1);
            Ok(())
        };
        let mut operator = Stateless::new(&self.flow, "split", self.packets);
        let (yes, no) = (operator.output(), operator.output());
        operator.build(Box::new(each));
        (self.flow.stream(yes), self.flow.stream(no))
    }

    /// Passes all records on unchanged, and makes records of another stream from some of them; they keep the event time.
    #[must_use]
    pub fn derive<E: Data>(self, mut f: impl FnMut(&Record<D>) -> Option<E> + 'static) -> (Self, Stream<'s, E>) {
        let mut derived = move |record: &Record<D>| {
            let Record { event_time, arrival, .. } = *record;
            f(record).map(|data| Record { event_time, arrival, data })
        };
        self.derive_batches(move |records| records.iter().filter_map(&mut derived).collect())
    }

    /// Passes all records on unchanged, and makes records of another stream from those that came together. What comes
    /// together differs from replay to replay: only the sum of what is made may matter.
    #[must_use]
    #[doc(hidden)]
    pub fn derive_batches<E: Data>(
        self,
        mut f: impl FnMut(&[Record<D>]) -> Vec<Record<E>> + 'static,
    ) -> (Self, Stream<'s, E>) {
        let each = move |packet: Packet, name: &str, send: &mut dyn FnMut(Packet, usize)| {
            let records = packet.open::<D>(name)?;
            let derived = f(&records);
            send(Packet::of::<D>(records), 0);
            send(Packet::of::<E>(derived), 1);
            Ok(())
        };
        let mut operator = Stateless::new(&self.flow, "derive", self.packets);
        let (passed, derived) = (operator.output(), operator.output());
        operator.build(Box::new(each));
        (self.flow.stream(passed), self.flow.stream(derived))
    }

    /// Builds a stateless operator: `f` turns a batch of records into another one.
    fn transform<E: Data>(
        self,
        kind: &'static str,
        mut f: impl FnMut(Vec<Record<D>>) -> Vec<Record<E>> + 'static,
    ) -> Stream<'s, E> {
        let each = move |packet: Packet, name: &str, send: &mut dyn FnMut(Packet, usize)| {
            send(Packet::of(f(packet.open(name)?)), 0);
            Ok(())
        };
        let mut operator = Stateless::new(&self.flow, kind, self.packets);
        let packets = operator.output();
        operator.build(Box::new(each));
        self.flow.stream(packets)
    }
}

/// The function of a stateless operator. It is given a packet and the operator's name, and sends packets to outputs.
type Each = Box<dyn FnMut(Packet, &str, &mut dyn FnMut(Packet, usize)) -> Result<(), JobError>>;

/// A stateless operator while it is being built.
struct Stateless<'s> {
    node: Node<'s>,
    input: Input,
    outputs: Vec<Output>,
    name: String,
    metrics: Arc<OperatorMetrics>,
    context: Shared,
}

impl<'s> Stateless<'s> {
    fn new(flow: &Flow<'s>, kind: &'static str, packets: Packets<'s>) -> Self {
        let name = flow.next_name(kind);
        let mut node = flow.node(&name);
        let input = node.input(packets, FrontierInterest::Never);
        let metrics = flow.metrics(&name, kind);
        Self { node, input, outputs: Vec::new(), name, metrics, context: flow.context().clone() }
    }

    fn output(&mut self) -> Packets<'s> {
        let (output, stream) = self.node.output();
        self.outputs.push(output);
        stream
    }

    fn build(self, mut each: Each) {
        let Self { node, mut input, mut outputs, name, metrics, context } = self;
        let turn = move |_| {
            let _turn = metrics.turn();
            input.for_each(&mut |capability, _, packet| {
                metrics.records_in.add(packet.len() as u64);
                let result = each(packet, &name, &mut |packet, output| {
                    metrics.records_out.add(packet.len() as u64);
                    outputs[output].pass(capability, packet);
                });
                context.guard(result);
            });
            false
        };
        node.build(Box::new(|_| Box::new(turn)));
    }
}
