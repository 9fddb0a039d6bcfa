//! An operator as timely sees it: inputs and outputs of packets, and a function that is called for each turn.
//!
//! Nothing here is generic, so that it is compiled once with the engine and not again with each program.

use std::sync::Arc;

use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::channels::pushers::{self, exchange::Distributor};
use timely::dataflow::operators::generic::InputHandleCore;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, Stream as TimelyStream};
use timely::progress::Stamp;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::{Activator, SyncActivator};

use super::wires::Wires;
use crate::packet::Packet;
use crate::tap::Tap;
use crate::time::Moment;

/// A stream of records, as timely sees it.
pub(crate) type Packets<'s> = TimelyStream<'s, Moment, Packet>;
/// A turn of an operator, given the meet of its input's frontier (`None` if nothing can come any more). Returns whether
/// the operator must be kept although it has neither input nor capabilities.
pub(crate) type Turn = Box<dyn FnMut(Option<Moment>) -> bool>;
/// Splits a packet by the workers that its records go to, and passes on each part with the index of its worker.
pub(crate) type Split = Box<dyn FnMut(Packet, &mut dyn FnMut(usize, Packet))>;

type Puller<P> = <P as ParallelizationContract<Moment, Packet>>::Puller;
type Exchange = DistributorPact<Box<dyn FnOnce(usize) -> Router>>;

/// An operator while it is being built. It must not be abandoned: timely has already reserved its place.
pub(crate) struct Node<'s> {
    builder: OperatorBuilder<'s, Moment>,
    scope: Scope<'s, Moment>,
    wires: Wires,
    /// Samples what the operator emits; its first output takes it.
    tap: Arc<Tap>,
    tapped: bool,
}

impl<'s> Node<'s> {
    pub(super) fn new(name: &str, scope: Scope<'s, Moment>, wires: Wires, tap: Arc<Tap>) -> Self {
        let builder = OperatorBuilder::new(name.to_owned(), scope);
        wires.operator(builder.index(), name);
        Self { builder, scope, wires, tap, tapped: false }
    }

    /// Adds the input, from the same worker. `interest` says which changes of its frontier have the operator called.
    pub(crate) fn input(&mut self, stream: Packets<'s>, interest: FrontierInterest) -> Input {
        self.wires.connect(stream.name().node, self.builder.index(), false);
        let input = self.builder.new_input(stream, Pipeline);
        self.builder.set_notify_for(0, interest);
        Input::Local(input)
    }

    /// Adds the input, from all workers. `split` runs on the worker that sends, unless there is only one.
    pub(crate) fn exchanged_input(&mut self, stream: Packets<'s>, split: Split, interest: FrontierInterest) -> Input {
        self.wires.connect(stream.name().node, self.builder.index(), true);
        let exchange: Exchange = DistributorPact(Box::new(move |_| Router(split)));
        let input = self.builder.new_input(stream, exchange);
        self.builder.set_notify_for(0, interest);
        Input::Exchanged(input)
    }

    /// Adds an output. The first one has the results of the operator; those that follow have its side outputs and dead
    /// letters.
    pub(crate) fn output(&mut self) -> (Output, Packets<'s>) {
        let (output, stream) = self.builder.new_output();
        let tap = (!std::mem::replace(&mut self.tapped, true)).then(|| self.tap());
        (Output { to: output, tap }, stream)
    }

    /// Returns the tap of the operator.
    pub(crate) fn tap(&self) -> Arc<Tap> {
        Arc::clone(&self.tap)
    }

    /// Returns a handle that has the operator called, on this worker.
    pub(crate) fn activator(&self) -> Activator {
        self.scope.activator_for(self.builder.operator_info().address)
    }

    /// Returns a handle that has the operator called, from any thread.
    pub(crate) fn sync_activator(&self) -> SyncActivator {
        self.scope.worker().sync_activator_for(self.builder.operator_info().address.to_vec())
    }

    /// Completes the operator. `begin` is given the capabilities of the outputs, in their order.
    pub(crate) fn build(self, begin: Box<dyn FnOnce(Vec<Capability<Moment>>) -> Turn + '_>) {
        self.builder.build_reschedule(|capabilities| {
            let mut turn = begin(capabilities);
            move |frontiers| turn(frontiers.first().and_then(|frontier| Moment::meet_of(&frontier.frontier())))
        });
    }
}

/// Returns the moment that a message was sent at. Every message is sent with one capability, so there always is one.
pub(super) fn moment_of(capability: &InputCapability<Moment>) -> Option<Moment> {
    capability.stamp().elements().first().copied()
}

/// The input of an operator.
pub(crate) enum Input {
    Local(InputHandleCore<Moment, Packet, Puller<Pipeline>>),
    Exchanged(InputHandleCore<Moment, Packet, Puller<Exchange>>),
}

impl Input {
    /// Calls `f` with each packet that has come, its capability, and the moment it was sent at.
    pub(crate) fn for_each(&mut self, f: &mut dyn FnMut(&InputCapability<Moment>, Moment, Packet)) {
        let mut take = |capability: InputCapability<Moment>, packet: &mut Packet| {
            if let Some(moment) = moment_of(&capability) {
                f(&capability, moment, std::mem::take(packet));
            }
        };
        match self {
            Self::Local(input) => input.for_each(&mut take),
            Self::Exchanged(input) => input.for_each(&mut take),
        }
    }
}

/// An output of an operator.
pub(crate) struct Output {
    to: pushers::Output<Moment, Packet>,
    tap: Option<Arc<Tap>>,
}

impl Output {
    /// Sends the packet, unless it is empty, at the moment of the capability.
    pub(crate) fn send(&mut self, at: &Capability<Moment>, mut packet: Packet) {
        if packet.len() > 0 {
            self.tap.iter().for_each(|tap| tap.offer(&packet));
            self.to.activate().give(at, &mut packet);
        }
    }

    /// Sends the packet, unless it is empty, at the moment at which its input came.
    pub(crate) fn pass(&mut self, at: &InputCapability<Moment>, mut packet: Packet) {
        if packet.len() > 0 {
            self.tap.iter().for_each(|tap| tap.offer(&packet));
            self.to.activate().give(at, &mut packet);
        }
    }
}

/// The sending end of an exchange.
pub(crate) struct Router(Split);

impl Distributor<Packet> for Router {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(
        &mut self,
        packet: &mut Packet,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        (self.0)(std::mem::take(packet), &mut |worker, mut part| {
            if let Some(pusher) = pushers.get_mut(worker) {
                Message::push_at(&mut part, stamp.clone(), pusher);
            }
        });
    }

    /// Nothing is kept between packets.
    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}
