//! The sink operator: it writes the records of an epoch, stages them when the epoch closes, and
//! passes the backpressure of a slow writer on to the sources.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use crate::checkpoint::blobs::Blob;
use crate::epoch::{Aligner, Step};
use crate::error::JobError;
use crate::graph::{Stream, moment_of};
use crate::metrics::{Counter, Distribution, OperatorMetrics};
use crate::record::{Arrival, Data, Record};
use crate::threads;
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::Shared;

/// The longest time that a writer is called in one turn, since the other operators of the worker wait meanwhile.
const TURN: Duration = Duration::from_millis(5);
/// Number of records between two readings of the clock.
const STRIDE: usize = 16;
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

/// Builds the operator on this worker.
fn operator<S: Sink>(stream: Stream<'_, S::Item>, name: &str, sink: &S) -> Result<(), JobError> {
    let Stream { flow, inner } = stream;
    let context = flow.claim_name(name)?;
    context.ends.borrow_mut().sinks.insert(name.to_owned());
    let metrics = flow.metrics(name, "sink");
    let sink_context = SinkContext {
        name: name.to_owned(),
        worker: context.worker,
        workers: context.workers,
        restored_epoch: context.start.restored_epoch(),
        incarnation: context.incarnation,
        leader: context.process.progress.leader.clone(),
        clock: context.process.clock.clone(),
        checkpoint_interval: context.checkpoint_interval,
        metrics: Arc::clone(&metrics),
    };
    if context.worker == 0 {
        let staged = context.restored.staged(name);
        let tokens = staged.map(|(epoch, token)| StagedToken { epoch, token: token.to_vec() }).collect();
        context.start.recovering.store(true, Ordering::Relaxed);
        sink.recover(&sink_context, tokens).map_err(|e| JobError::of_connector(name, e))?;
    }
    let writer = sink.open(sink_context).map_err(|e| JobError::of_connector(name, e))?;
    context.epochs.borrow_mut().join();

    let mut builder = OperatorBuilder::new(name.to_owned(), flow.scope());
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Always);
    let activator = flow.scope().activator_for(builder.operator_info().address);
    builder.build_reschedule(move |_| {
        let mut egress = Egress {
            name: name.to_owned(),
            writer,
            aligner: Aligner::new(context.first_epoch, EventTime::MIN),
            waiting: VecDeque::new(),
            sampled: Vec::new(),
            since_sample: 0,
            latency: metrics.distribution("latency_us"),
            visible: metrics.distribution("visible_latency_us"),
            staged_bytes: metrics.counter("staged_token_bytes"),
            metrics,
            activator,
            context,
        };
        move |frontiers| {
            if egress.context.failed() {
                return false;
            }
            let _busy = egress.metrics.busy();
            input.for_each(|capability, records| {
                let Some(moment) = moment_of(&capability) else { return };
                let records = std::mem::take(records);
                egress.context.process.budget.charge(records.len());
                if let Some(records) = egress.aligner.admit(moment, records) {
                    egress.waiting.push_back(records.into());
                }
            });
            let meet = Moment::meet_of(&frontiers[0].frontier());
            let result = egress.turn(meet);
            !egress.context.guard(result).unwrap_or(true)
        }
    });
    Ok(())
}

struct Egress<W: SinkWriter> {
    name: String,
    writer: W,
    aligner: Aligner<Vec<Record<W::Item>>>,
    /// Records of the current epoch that the writer has not taken yet.
    waiting: VecDeque<VecDeque<Record<W::Item>>>,
    /// Arrivals of the sampled records of this epoch, to measure how long they took to become visible.
    sampled: Vec<Arrival>,
    since_sample: usize,
    latency: Distribution,
    visible: Distribution,
    staged_bytes: Counter,
    metrics: Arc<OperatorMetrics>,
    activator: Activator,
    context: Shared,
}

impl<D: Data, W: SinkWriter<Item = D>> Egress<W> {
    /// Writes the waiting records and closes the epochs that are over. Returns whether the sink is finished.
    fn turn(&mut self, meet: Option<Moment>) -> Result<bool, JobError> {
        loop {
            if !self.write_waiting()? {
                self.context.wake_after(&self.activator, Duration::from_micros(200));
                return Ok(false);
            }
            let finish = self.context.epochs.borrow().finish();
            match self.aligner.step(meet, finish) {
                Step::Watermark(watermark) => self.metrics.watermark.set(watermark.0),
                Step::Close(epoch) => {
                    self.stage(epoch)?;
                    self.waiting.extend(self.aligner.begin_next().into_iter().map(VecDeque::from));
                }
                Step::Wait => return Ok(false),
                Step::Finished => return Ok(true),
            }
        }
    }

    /// Passes records to the writer. Returns false when it cannot take more now or its turn is over.
    fn write_waiting(&mut self) -> Result<bool, JobError> {
        let started = threads::now();
        while let Some(records) = self.waiting.front_mut() {
            let mut written = 0;
            let mut result = Ok(());
            let now = self.context.process.clock.now();
            let slice = records.make_contiguous();
            for stride in slice.chunks(STRIDE) {
                if !self.writer.ready() || threads::since(started) > TURN {
                    break;
                }
                for record in stride {
                    result = result.and_then(|()| self.writer.write(record));
                }
                written += stride.len();
            }
            let done = slice.get(..written).unwrap_or_default();
            self.latency.record_since(now, done.iter().map(|record| record.arrival));
            let skip = (VISIBLE_SAMPLE - self.since_sample) % VISIBLE_SAMPLE;
            self.sampled.extend(done.iter().skip(skip).step_by(VISIBLE_SAMPLE).map(|record| record.arrival));
            self.since_sample = (self.since_sample + written) % VISIBLE_SAMPLE;
            result.map_err(|e| JobError::of_connector(&self.name, e))?;
            self.metrics.records_in.add(written as u64);
            self.context.process.budget.release(written);
            let all = written == records.len();
            records.drain(..written);
            if !all {
                return Ok(false);
            }
            self.waiting.pop_front();
        }
        Ok(true)
    }

    /// Ends an epoch: the token of its output goes into the delta, and the output is published once the manifest
    /// is written.
    fn stage(&mut self, epoch: Epoch) -> Result<(), JobError> {
        let staged = self.writer.stage(epoch).map_err(|e| JobError::of_connector(&self.name, e))?;
        let sampled = std::mem::take(&mut self.sampled);
        self.context.epochs.borrow_mut().close(epoch, |contribution| {
            let Some(Staged { token, flush, publish }) = staged else { return Ok(()) };
            self.staged_bytes.add(token.len() as u64);
            Blob::Staged(epoch, token).put(&self.name, &mut contribution.delta);
            contribution.flushes.push((self.name.clone(), flush));
            let (visible, clock) = (self.visible.clone(), self.context.process.clock.clone());
            let publish_and_measure = Box::new(move || {
                publish()?;
                visible.record_since(clock.now(), sampled.into_iter());
                Ok(())
            });
            contribution.publishes.push((self.name.clone(), publish_and_measure));
            Ok(())
        })
    }
}
