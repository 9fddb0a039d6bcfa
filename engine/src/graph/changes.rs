//! Changes of operators that a stream asks for: a control topic or a control file as an input of the graph.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::port::Port;
use super::stream::Stream;
use crate::control::ChangeRequest;
use crate::control::request::Request;
use crate::epoch::{Aligner, Finish, SourceId, Step};
use crate::error::JobError;
use crate::locks::lock;
use crate::metrics::OperatorMetrics;
use crate::packet::Packet;
use crate::record::{Data, Record};
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::{Shared, WorkerContext};

/// Time between two looks whether a request is decided.
const LOOK: Duration = Duration::from_millis(10);

impl<D: Data + Into<ChangeRequest>> Stream<'_, D> {
    /// Asks for a change of an operator with each record, and ends the stream here. What becomes of it is in the log and
    /// under `/api/v1/changes`; a request that is refused stops nothing.
    ///
    /// Guarantee: a request whose record is in a checkpoint is in it, too, until it is decided.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn change_operators(self, name: &str) -> Result<(), JobError> {
        let context = Rc::clone(self.flow.context());
        let (process, asked) = (Arc::clone(&context.process), Arc::clone(&context.asked));
        self.for_each(name, move |record: &Record<D>| {
            let request = request(record.data.clone(), process.clock.processing_time().0);
            process.control.asked(&request);
            lock(&asked).push(request);
        })
    }
}

impl<'s, D: Data + Into<ChangeRequest>> Stream<'s, D> {
    /// Asks for a change of an operator with each record, as [`change_operators`](Self::change_operators) does, and returns
    /// `others` with a watermark that waits: it passes neither the watermark of the requests, nor the event time from which
    /// on a change is asked for (`from_event_time`) before that is decided, and in effect for all records that come then. So
    /// an operator in event-time order that reads `others` releases no record of that time before, and each run over the same
    /// input makes the change at the same record.
    ///
    /// * Time: if all requests have the event time [`EventTime::MIN`], nothing is released before all of a bounded source
    ///   are read, or before an unbounded one is idle. The sources of a process that has read a request pause meanwhile, once
    ///   a tenth of [`JobSettings::max_in_flight`](crate::JobSettings::max_in_flight) records are pending there. A request
    ///   whose time has passed already holds the watermark where it is until it is refused. Input that ends does not end the
    ///   job before all requests are decided; requests must not be sent to other workers on their way here.
    /// * Guarantee: a request whose record is in a checkpoint is in it, too, until it is decided; a restart waits for it again.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn change_operators_before<E: Data>(
        self,
        name: &str,
        others: Stream<'s, E>,
    ) -> Result<Stream<'s, E>, JobError> {
        let context = self.flow.claim_name(name)?;
        let mut node = self.flow.node(name);
        let mut input = node.input(self.packets, FrontierInterest::Always);
        let (output, waits) = node.output();
        let activator = node.activator();
        let id = context.epochs.borrow_mut().join_waiting(activator.clone());
        let metrics = self.flow.metrics(name, "changes");
        let wait = context.process.source_clocks.register_wait();
        node.build(Box::new(move |mut capabilities| {
            let start = Moment::new(context.first_epoch, EventTime::MIN);
            let port = Port::new(output, capabilities.pop(), start);
            let aligner = Aligner::new(start.epoch, start.watermark);
            let mut asking = Asking {
                name: name.to_owned(),
                aligner,
                port,
                at: start,
                id,
                read_in: None,
                wait,
                next_look: None,
                activator,
                metrics,
                context,
            };
            Box::new(move |meet| {
                if asking.context.failed() {
                    return false;
                }
                let metrics = Arc::clone(&asking.metrics);
                let _turn = metrics.turn();
                let mut result = Ok(());
                input.for_each(&mut |_, moment, packet| {
                    if let Some(packet) = asking.aligner.admit(moment, packet)
                        && result.is_ok()
                    {
                        result = asking.ask::<D>(packet);
                    }
                });
                let result = result.and_then(|()| asking.advance::<D>(meet));
                asking.context.guard(result);
                false
            })
        }));
        let both = others.flow.concatenate(vec![others.packets, waits], false);
        Ok(others.flow.stream(both))
    }
}

fn request(asked: impl Into<ChangeRequest>, asked_ms: i64) -> Request {
    let ChangeRequest { id, operator, change, by, reason } = asked.into();
    Request { id, operator, change: change.to_string(), by, reason, asked_ms }
}

/// The operator that asks, and has the watermark wait.
struct Asking {
    name: String,
    aligner: Aligner,
    /// Nothing is sent; what it stands at is the watermark.
    port: Port,
    at: Moment,
    /// The end of the job waits for it.
    id: SourceId,
    /// The epoch in which all sources of this worker had been read: once it is over, all of their requests have come.
    read_in: Option<Epoch>,
    /// What records wait for: sources that are ahead of it pause when there are many.
    wait: Arc<AtomicI64>,
    next_look: Option<Instant>,
    activator: Activator,
    metrics: Arc<OperatorMetrics>,
    context: Shared,
}

impl Asking {
    fn ask<D: Data + Into<ChangeRequest>>(&self, packet: Packet) -> Result<(), JobError> {
        let WorkerContext { process, asked, .. } = &*self.context;
        self.metrics.records_in.add(packet.len() as u64);
        for record in packet.open::<D>(&self.name)? {
            let request = request(record.data, process.clock.processing_time().0);
            // Held before the leader can decide.
            process.control.hold(&request);
            process.control.asked(&request);
            lock(asked).push(request);
        }
        Ok(())
    }

    /// Follows the frontier as far as the requests allow, through closed epochs and to the end of the job.
    fn advance<D: Data + Into<ChangeRequest>>(&mut self, meet: Option<Moment>) -> Result<(), JobError> {
        loop {
            let finish = self.context.epochs.borrow().finish();
            match self.aligner.step(meet, finish) {
                Step::Watermark(_) => {}
                Step::Close(epoch) => {
                    self.context.epochs.borrow_mut().close(epoch, |_| Ok::<_, JobError>(()))?;
                    for packet in self.aligner.begin_next() {
                        self.ask::<D>(packet)?;
                    }
                }
                Step::Wait => break,
                Step::Finished => {
                    self.finish(finish);
                    return Ok(());
                }
            }
        }
        let (held, end_waits) = self.context.process.control.held();
        let Moment { epoch, watermark } = self.aligner.current();
        self.at.epoch = epoch;
        self.at.watermark = self.at.watermark.max(held.map_or(watermark, |held| held.min(watermark)));
        self.port.lower(Some(self.at));
        self.metrics.watermark.set(self.at.watermark.0);
        let wait = held.map_or(EventTime::MAX, |held| held.max(self.at.watermark));
        self.wait.store(wait.0, Ordering::Relaxed);
        self.wait_for_end(end_waits);
        // Nothing else wakes it when a request is decided, or when sources are exhausted.
        self.context.look_again(&mut self.next_look, &self.activator, LOOK);
        Ok(())
    }

    /// Ends as sources do: a job that is stopped keeps its watermark until every worker has closed the last epoch, so that
    /// nothing that is held is released.
    fn finish(&mut self, finish: Option<Finish>) {
        self.wait.store(EventTime::MAX.0, Ordering::Relaxed);
        let committed = self.context.process.progress.committed_epoch.load(Ordering::Relaxed);
        if finish.is_none_or(|finish| finish.drain || committed >= finish.last.0) {
            return self.port.lower(None);
        }
        self.at.epoch = self.aligner.current().epoch;
        self.port.lower(Some(self.at));
        self.context.look_again(&mut self.next_look, &self.activator, LOOK);
    }

    /// Lets the job end once all requests have come and none is undecided.
    fn wait_for_end(&mut self, waits: bool) {
        let mut epochs = self.context.epochs.borrow_mut();
        if self.read_in.is_none() && epochs.is_read() {
            self.read_in = Some(epochs.running());
            self.context.process.checkpoint_wanted.store(true, Ordering::Relaxed);
        }
        let all_came = self.read_in.is_some_and(|epoch| self.at.epoch > epoch);
        epochs.set_exhausted(self.id, all_came && !waits);
    }
}
