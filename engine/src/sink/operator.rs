//! The sink operator: it writes the records of an epoch, stages them when the epoch closes, and
//! passes the backpressure of a slow writer on to the sources.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::writing::{Typed, Writing};
use super::{Failing, Sink, SinkContext, Staged, StagedToken};
use crate::checkpoint::blobs::Blob;
use crate::epoch::{Aligner, Backlog, StagedOutput, Step};
use crate::error::JobError;
use crate::graph::{Flow, Packets, Stream};
use crate::metrics::{Activity, Counter, Distribution, Gauge, OperatorMetrics};
use crate::record::{Arrival, Data};
use crate::threads;
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::Shared;

/// One record in this many is measured until it is visible: enough for p99.9, and cheap.
const VISIBLE_SAMPLE: usize = 16;

impl<D: Data> Stream<'_, D> {
    /// Writes the stream to `sink`. `name` is unique in the job and names the sink in checkpoints.
    ///
    /// # Errors
    /// When the name is taken or the sink cannot be opened.
    pub fn sink<S: Sink<Item = D>>(self, name: &str, sink: &S) -> Result<(), JobError> {
        operator(self, name, sink)
    }
}

/// Builds the operator on this worker. What depends on the types of the program is in [`Typed`].
fn operator<S: Sink>(stream: Stream<'_, S::Item>, name: &str, sink: &S) -> Result<(), JobError> {
    let Stream { flow, packets, .. } = stream;
    let context = flow.claim_name(name)?;
    let metrics = flow.metrics(name, "sink");
    let (sink_context, to_recover) = sink_context(name, &context, &metrics);
    if let Some(tokens) = to_recover {
        sink.recover(&sink_context, tokens).map_err(|e| JobError::of_connector(name, e))?;
    }
    let writer = sink.open(sink_context).map_err(|e| JobError::of_connector(name, e))?;
    build(&flow, packets, name, Box::new(Typed::new(writer)), metrics);
    Ok(())
}

/// Returns the context of the sink, and on the leading worker the tokens of output that may not be published yet.
fn sink_context(
    name: &str,
    context: &Shared,
    metrics: &Arc<OperatorMetrics>,
) -> (SinkContext, Option<Vec<StagedToken>>) {
    context.ends.borrow_mut().sinks.insert(name.to_owned());
    let to_recover = (context.worker == 0).then(|| {
        context.start.recovering.store(true, Ordering::Relaxed);
        let staged = context.restored.staged(name);
        staged.map(|(epoch, token)| StagedToken { epoch, token: token.to_vec() }).collect()
    });
    let process = Arc::downgrade(&context.process);
    let sink_context = SinkContext {
        name: name.to_owned(),
        worker: context.worker,
        workers: context.workers,
        restored_epoch: context.start.restored_epoch(),
        incarnation: context.incarnation,
        leader: context.process.progress.leader.clone(),
        clock: context.process.clock.clone(),
        checkpoint_interval: context.checkpoint_interval,
        metrics: Arc::clone(metrics),
        failing: Failing::new(move || process.upgrade().is_none_or(|process| process.failure.is_set())),
    };
    (sink_context, to_recover)
}

/// Builds the operator in timely.
fn build<'s>(
    flow: &Flow<'s>,
    packets: Packets<'s>,
    name: &str,
    writer: Box<dyn Writing>,
    metrics: Arc<OperatorMetrics>,
) {
    let context = Rc::clone(flow.context());
    context.epochs.borrow_mut().join();
    let mut node = flow.node(name);
    let mut input = node.input(packets, FrontierInterest::Always);
    let (activator, tap) = (node.activator(), node.tap());
    let mut egress = Egress {
        name: name.to_owned(),
        writer,
        aligner: Aligner::new(context.first_epoch, EventTime::MIN),
        written: Vec::new(),
        sampled: Vec::new(),
        since_sample: 0,
        behind: false,
        latency: metrics.distribution("latency_us"),
        visible: metrics.distribution("visible_latency_us"),
        commit: metrics.distribution("commit_us"),
        staged_bytes: metrics.counter("staged_token_bytes"),
        queue: metrics.gauge("queue_records"),
        backlog: Arc::new(Backlog::new(&metrics)),
        metrics,
        activator,
        context,
    };
    let turn = move |meet| {
        if egress.context.failed() {
            return false;
        }
        let mut turn = egress.metrics.turn();
        let mut result = Ok(());
        input.for_each(&mut |_, moment, packet| {
            egress.context.process.budget.charge(packet.len());
            egress.queue.add(packet.len() as i64);
            tap.offer(&packet);
            if let Some(packet) = egress.aligner.admit(moment, packet)
                && result.is_ok()
            {
                result = egress.writer.take(packet, &egress.name);
            }
        });
        let result = result.and_then(|()| egress.turn(meet));
        if egress.behind {
            // It waits for its writer, as an operator does that is at work.
            turn.then(Activity::Elsewhere);
        }
        !egress.context.guard(result).unwrap_or(true)
    };
    node.build(Box::new(|_| Box::new(turn)));
}

struct Egress {
    name: String,
    writer: Box<dyn Writing>,
    aligner: Aligner,
    /// Arrivals of the records that were written in this turn.
    written: Vec<Arrival>,
    /// The sampled records of this epoch, to measure how long they take to become visible: when each arrived at its
    /// source, and when it was written.
    sampled: Vec<(Arrival, Arrival)>,
    since_sample: usize,
    /// Whether records wait because the writer cannot take more now.
    behind: bool,
    latency: Distribution,
    visible: Distribution,
    commit: Distribution,
    staged_bytes: Counter,
    /// The records that wait for the writer, or for the next epoch.
    queue: Gauge,
    /// The output that is committed and not published yet.
    backlog: Arc<Backlog>,
    metrics: Arc<OperatorMetrics>,
    activator: Activator,
    context: Shared,
}

impl Egress {
    /// Writes the waiting records and closes the epochs that are over. Returns whether the sink is finished.
    fn turn(&mut self, meet: Option<Moment>) -> Result<bool, JobError> {
        loop {
            self.behind = !self.write_waiting()?;
            if self.behind {
                self.context.wake_after(&self.activator, Duration::from_micros(200));
                return Ok(false);
            }
            let finish = self.context.epochs.borrow().finish();
            match self.aligner.step(meet, finish) {
                Step::Watermark(watermark) => self.metrics.watermark.set(watermark.0),
                Step::Close(epoch) => {
                    if finish.is_some_and(|finish| finish.last == epoch) {
                        self.writer.ends();
                    }
                    self.stage(epoch)?;
                    for packet in self.aligner.begin_next() {
                        self.writer.take(packet, &self.name)?;
                    }
                }
                Step::Wait => return Ok(false),
                Step::Finished => return Ok(true),
            }
        }
    }

    /// Passes records to the writer. Returns false when it cannot take more now or its turn is over.
    fn write_waiting(&mut self) -> Result<bool, JobError> {
        let result = match self.backlog.is_full() {
            true => Ok(!self.writer.has_waiting()),
            false => self.writer.write(threads::now(), &mut self.written),
        };
        let now = self.context.process.clock.now();
        let arrivals = self.written.iter().copied();
        self.latency.record_since(now, arrivals.clone());
        let skip = (VISIBLE_SAMPLE - self.since_sample) % VISIBLE_SAMPLE;
        self.sampled.extend(arrivals.skip(skip).step_by(VISIBLE_SAMPLE).map(|arrival| (arrival, now)));
        let written = self.written.len();
        self.since_sample = (self.since_sample + written) % VISIBLE_SAMPLE;
        self.written.clear();
        self.metrics.records_in.add(written as u64);
        self.context.process.budget.release(written);
        self.queue.add(-(written as i64));
        result.map_err(|e| JobError::of_connector(&self.name, e))
    }

    /// Ends an epoch: the token of its output goes into the delta, and the output is published once the manifest
    /// is written.
    fn stage(&mut self, epoch: Epoch) -> Result<(), JobError> {
        let staged = self.writer.stage(epoch).map_err(|e| JobError::of_connector(&self.name, e))?;
        let sampled = std::mem::take(&mut self.sampled);
        self.context.epochs.borrow_mut().close(epoch, |contribution| {
            let Some(Staged { token, flush, publish }) = staged else { return Ok(()) };
            self.staged_bytes.add(token.len() as u64);
            let bytes = (token.len() + std::mem::size_of_val(sampled.as_slice())) as u64;
            Blob::Staged(epoch, token).put(&self.name, &mut contribution.delta);
            contribution.flushes.push((self.name.clone(), flush));
            let (visible, commit) = (self.visible.clone(), self.commit.clone());
            let clock = self.context.process.clock.clone();
            let publish_and_measure = Box::new(move || {
                publish()?;
                let now = clock.now();
                visible.record_since(now, sampled.iter().map(|(arrival, _)| *arrival));
                commit.record_since(now, sampled.iter().map(|(_, written)| *written));
                Ok(())
            });
            let (sink, backlog) = (self.name.clone(), Arc::clone(&self.backlog));
            contribution.staged.push(StagedOutput { sink, task: publish_and_measure, bytes, backlog });
            Ok(())
        })
    }
}
