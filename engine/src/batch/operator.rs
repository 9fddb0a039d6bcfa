//! Batches as a timely operator. See the picture in the parent module.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use super::logic::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution};
use super::pool::{Done, Pool};
use crate::error::JobError;
use crate::graph::{Stream, moment_of};
use crate::metrics::{Counter, Distribution, OperatorMetrics};
use crate::record::{Data, DeadLetter, Record};
use crate::threads;
use crate::time::Moment;
use crate::worker::Shared;

impl<'s, D: Data> Stream<'s, D> {
    /// Runs batch logic (inference, lookups) over the stream, on the worker the records are on or on threads
    /// beside it.
    ///
    /// # Errors
    /// When the name is taken, or `logic` cannot be made.
    pub fn batch<L: BatchLogic<In = D>>(
        self,
        name: &str,
        logic: impl FnOnce(&Arc<OperatorMetrics>) -> Result<(L, Execution<L::Work>), JobError>,
    ) -> Result<Stream<'s, L::Out>, JobError> {
        batch(self, name, logic)
    }
}

/// Builds the operator on this worker.
fn batch<'s, L: BatchLogic>(
    stream: Stream<'s, L::In>,
    name: &str,
    logic: impl FnOnce(&Arc<OperatorMetrics>) -> Result<(L, Execution<L::Work>), JobError>,
) -> Result<Stream<'s, L::Out>, JobError> {
    let Stream { flow, inner } = stream;
    let context = flow.claim_name(name)?;
    let metrics = flow.metrics(name, "batch");
    let (logic, execution) = logic(&metrics)?;

    let mut builder = OperatorBuilder::new(name.to_owned(), flow.scope());
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let (main, main_stream) = builder.new_output();
    let (dead, dead_stream) = builder.new_output();
    let address = builder.operator_info().address;
    let activator = flow.scope().activator_for(address.clone());
    let executor = match execution {
        Execution::InLine(runner) => Ok(Executor::InLine(runner)),
        Execution::Pool(spec) => {
            let wake = flow.scope().worker().sync_activator_for(address.to_vec());
            Pool::start(name, spec, wake).map(|pool| Executor::Pool(Box::new(pool)))
        }
    };
    // A builder may not be given up: what went wrong stops the job in the operator's first turn.
    let (executor, mut failure) = match executor {
        Ok(executor) => (Some(executor), None),
        Err(error) => (None, Some(error)),
    };
    if failure.is_some() {
        activator.activate();
    }

    builder.build(move |_| {
        let mut shell = executor.map(|executor| BatchShell {
            name: name.to_owned(),
            gathered: VecDeque::new(),
            flights: VecDeque::new(),
            output: BatchOutput { records: Vec::new(), dead_letters: Vec::new() },
            spare: Vec::new(),
            spare_work: Vec::new(),
            next_look: None,
            meet: None,
            batches: metrics.counter("batches"),
            sizes: metrics.distribution("batch_size_records"),
            main,
            dead,
            executor,
            logic,
            metrics,
            activator,
            context: Shared::clone(&context),
        });
        move |frontiers| {
            if context.failed() {
                return;
            }
            let Some(shell) = &mut shell else {
                context.guard(failure.take().map_or(Ok(()), Err));
                return;
            };
            let _busy = shell.metrics.busy();
            shell.meet = Moment::meet_of(&frontiers[0].frontier());
            let mut result = shell.collect();
            let mut idle = true;
            input.for_each(|capability, records| {
                idle = false;
                if result.is_ok() {
                    result = shell.take(&capability, records);
                }
            });
            let result = result.and_then(|()| shell.work_off(idle));
            context.guard(result);
        }
    });
    flow.add_dead_letters(dead_stream);
    Ok(flow.stream(main_stream))
}

/// Records of one epoch, and the capabilities to send what becomes of them.
struct Gathered<I> {
    main: Capability<Moment>,
    dead: Capability<Moment>,
    since: Instant,
    records: Vec<Record<I>>,
}

/// A batch that is with the threads.
struct Flight<I, W> {
    ticket: u64,
    batch: Gathered<I>,
    gathered: Duration,
    submitted: Instant,
    done: Option<Landed<W>>,
}

struct Landed<W> {
    work: W,
    queued: Duration,
    ran: Duration,
}

enum Executor<W> {
    InLine(Box<dyn BatchRunner<W>>),
    Pool(Box<Pool<W>>),
}

struct BatchShell<L: BatchLogic> {
    name: String,
    /// Batches that are not run yet; only the last one is open, the others are full or of another epoch.
    gathered: VecDeque<Gathered<L::In>>,
    /// Batches with the threads, in the order they were gathered.
    flights: VecDeque<Flight<L::In, L::Work>>,
    output: BatchOutput<L::Out>,
    /// Allocations of batches that are done, for the next ones.
    spare: Vec<Vec<Record<L::In>>>,
    spare_work: Vec<L::Work>,
    /// When it was last asked to be called again for overdue threads.
    next_look: Option<Instant>,
    /// Of the input's frontier; nothing can come any more without one.
    meet: Option<Moment>,
    batches: Counter,
    sizes: Distribution,
    main: Output<Moment, Vec<Record<L::Out>>>,
    dead: Output<Moment, Vec<Record<DeadLetter>>>,
    executor: Executor<L::Work>,
    logic: L,
    metrics: Arc<OperatorMetrics>,
    activator: Activator,
    context: Shared,
}

impl<L: BatchLogic> BatchShell<L> {
    /// Gathers a message's records; in line, the batches that are full are run.
    fn take(&mut self, capability: &InputCapability<Moment>, records: &mut Vec<Record<L::In>>) -> Result<(), JobError> {
        let Some(moment) = moment_of(capability) else { return Ok(()) };
        self.metrics.records_in.add(records.len() as u64);
        if matches!(self.executor, Executor::Pool(_)) {
            // They wait for a slow model, and sources wait for them.
            self.context.process.budget.charge(records.len());
        }
        // A logic that says 0 gets one at a time, not an endless loop.
        let max_batch_size = self.logic.max_batch_size().max(1);
        let mut records = records.drain(..);
        while !records.as_slice().is_empty() {
            // Results belong to the epoch of their records, so a batch never spans two.
            let fits =
                |open: &Gathered<L::In>| open.main.time().epoch == moment.epoch && open.records.len() < max_batch_size;
            if !self.gathered.back().is_some_and(fits) {
                self.run_in_line()?;
                self.gathered.push_back(Gathered {
                    main: capability.delayed(&moment, 0),
                    dead: capability.delayed(&moment, 1),
                    since: threads::now(),
                    records: self.spare.pop().unwrap_or_default(),
                });
            }
            let Some(open) = self.gathered.back_mut() else { continue };
            // The least watermark of the batch's messages: results are not late because of the batch.
            if moment.watermark < open.main.time().watermark {
                open.main = capability.delayed(&moment, 0);
                open.dead = capability.delayed(&moment, 1);
            }
            let room = max_batch_size - open.records.len();
            open.records.extend(records.by_ref().take(room));
            if open.records.len() >= max_batch_size {
                self.run_in_line()?;
            }
        }
        Ok(())
    }

    /// In line: runs what is gathered.
    fn run_in_line(&mut self) -> Result<(), JobError> {
        while let Executor::InLine(runner) = &mut self.executor
            && let Some(batch) = self.gathered.pop_front()
        {
            let mut work = self.spare_work.pop().unwrap_or_default();
            self.logic.prepare(&batch.records, &mut work);
            let closed = threads::now();
            runner.run(&mut work);
            let times = BatchTimes {
                gathered: closed - batch.since,
                queued: Duration::ZERO,
                ran: threads::since(closed),
                total: threads::since(batch.since),
            };
            self.finish(batch, work, times)?;
        }
        Ok(())
    }

    /// Runs what is due, or hands it to the threads, and sends what they have done.
    fn work_off(&mut self, idle: bool) -> Result<(), JobError> {
        if let Executor::Pool(_) = self.executor {
            self.submit_due(idle)?;
            // What was given up leaves room for others, and no thread will wake this operator for them.
            while self.look_for_overdue()? {
                self.submit_due(idle)?;
            }
            return self.land();
        }
        if let Some(open) = self.gathered.back() {
            if idle || self.is_due(open) {
                return self.run_in_line();
            }
            // One more turn: if it brings no input, the worker has nothing better to do.
            self.activator.activate();
        }
        Ok(())
    }

    /// Whether an open batch is not to be filled any longer.
    fn is_due(&self, open: &Gathered<L::In>) -> bool {
        let at = open.main.time();
        let Some(meet) = self.meet.filter(|meet| meet.epoch <= at.epoch) else { return true };
        let overtaken = meet.watermark > at.watermark;
        let delay = self.logic.max_delay();
        threads::since(open.since) >= if overtaken { self.logic.max_watermark_delay().min(delay) } else { delay }
    }

    /// Hands batches to the threads: closed ones while there is room, the open one when it is due and a thread free.
    fn submit_due(&mut self, idle: bool) -> Result<(), JobError> {
        while let Some(first) = self.gathered.front() {
            let due = idle || self.is_due(first);
            let Executor::Pool(pool) = &mut self.executor else { break };
            if pool.is_dead() {
                let Some(batch) = self.gathered.pop_front() else { break };
                self.lose(batch, "all threads are overdue".to_owned());
                continue;
            }
            let closed = self.gathered.len() > 1 || first.records.len() >= self.logic.max_batch_size().max(1);
            if !closed && pool.has_free_thread() && !due {
                // One more turn: if it brings no input, the worker has nothing better to do.
                self.activator.activate();
                break;
            }
            // A thread that ends its run wakes this operator.
            let may_go = if closed { pool.has_room() } else { pool.has_free_thread() && pool.has_room() };
            if !may_go {
                break;
            }
            let Some(batch) = self.gathered.pop_front() else { break };
            let mut work = self.spare_work.pop().unwrap_or_default();
            self.logic.prepare(&batch.records, &mut work);
            let gathered = threads::since(batch.since);
            let ticket = pool.submit(work);
            self.flights.push_back(Flight { ticket, batch, gathered, submitted: threads::now(), done: None });
        }
        Ok(())
    }

    /// Takes what the threads have done.
    fn collect(&mut self) -> Result<(), JobError> {
        while let Executor::Pool(pool) = &mut self.executor
            && let Some(Done { ticket, work, queued, ran }) = pool.collect()?
        {
            let Some(at) = self.flights.iter().position(|flight| flight.ticket == ticket) else { continue };
            match work {
                Ok(work) => {
                    if let Some(flight) = self.flights.get_mut(at) {
                        flight.done = Some(Landed { work, queued, ran });
                    }
                }
                Err(reason) => self.give_up(at, format!("the thread that ran it panicked: {reason}"))?,
            }
        }
        self.land()
    }

    /// Sends the results of batches that are done: all of them, or those that no earlier one is waited for.
    fn land(&mut self) -> Result<(), JobError> {
        let Executor::Pool(pool) = &self.executor else { return Ok(()) };
        let ordered = pool.ordered();
        let mut at = 0;
        while let Some(flight) = self.flights.get(at) {
            if flight.done.is_none() {
                if ordered {
                    break;
                }
                at += 1;
                continue;
            }
            let Some(Flight { batch, gathered, done: Some(done), .. }) = self.flights.remove(at) else { break };
            let Landed { work, queued, ran } = done;
            let times = BatchTimes { gathered, queued, ran, total: threads::since(batch.since) };
            self.finish(batch, work, times)?;
        }
        Ok(())
    }

    /// Gives up a thread that is overdue; when none is, has itself called when the next one would be.
    fn look_for_overdue(&mut self) -> Result<bool, JobError> {
        let Executor::Pool(pool) = &mut self.executor else { return Ok(false) };
        let Some(deadline) = pool.deadline() else { return Ok(false) };
        // SUBTLE: the one that was submitted first, not the first in line: that one may have been submitted again, and the
        // threads skip what was submitted before a batch that was given up.
        let in_the_air = self.flights.iter().enumerate().filter(|(_, flight)| flight.done.is_none());
        let first = in_the_air.min_by_key(|(_, flight)| (flight.submitted, flight.ticket));
        let Some((at, flight)) = first else { return Ok(false) };
        let left = deadline.saturating_sub(threads::since(flight.submitted));
        if left.is_zero() {
            pool.give_up(flight.ticket)?;
            self.give_up(at, format!("no answer within {deadline:?}"))?;
            return Ok(true);
        }
        let now = threads::now();
        let then = now + left;
        if self.next_look.is_none_or(|planned| planned <= now || planned > then) {
            self.next_look = Some(then);
            self.context.wake_after(&self.activator, left);
        }
        Ok(false)
    }

    /// The work of a flight is lost; its records are here. What can still be tried is handed to another thread.
    fn give_up(&mut self, at: usize, reason: String) -> Result<(), JobError> {
        let Executor::Pool(pool) = &mut self.executor else { return Ok(()) };
        let Some(flight) = self.flights.get_mut(at) else { return Ok(()) };
        let mut work = L::Work::default();
        self.logic.prepare(&flight.batch.records, &mut work);
        let more = self.logic.give_up(&flight.batch.records, &mut work, reason);
        if more && !pool.is_dead() && pool.has_room() {
            flight.ticket = pool.submit(work);
            flight.submitted = threads::now();
        } else {
            let ran = threads::since(flight.submitted);
            flight.done = Some(Landed { work, queued: Duration::ZERO, ran });
        }
        Ok(())
    }

    /// A batch that no thread is there for; it leaves in its turn.
    fn lose(&mut self, batch: Gathered<L::In>, reason: String) {
        let mut work = L::Work::default();
        self.logic.prepare(&batch.records, &mut work);
        self.logic.give_up(&batch.records, &mut work, reason);
        let (gathered, submitted) = (threads::since(batch.since), threads::now());
        let done = Some(Landed { work, queued: Duration::ZERO, ran: Duration::ZERO });
        self.flights.push_back(Flight { ticket: 0, batch, gathered, submitted, done });
    }

    /// Makes and sends the results of a batch.
    fn finish(&mut self, mut batch: Gathered<L::In>, mut work: L::Work, times: BatchTimes) -> Result<(), JobError> {
        let size = batch.records.len();
        self.batches.add(1);
        self.sizes.record(size as u64);
        self.output.records.reserve(size);
        self.logic
            .finish(batch.records.drain(..), &mut work, times, &mut self.output)
            .map_err(|source| JobError::Operator { operator: self.name.clone(), source })?;
        self.metrics.records_out.add(self.output.records.len() as u64);
        self.metrics.dead_letters.add(self.output.dead_letters.len() as u64);
        self.output.dead_letters.iter().for_each(|letter| self.context.log_dead_letter(&letter.data));
        self.main.activate().give(&batch.main, &mut self.output.records);
        self.dead.activate().give(&batch.dead, &mut self.output.dead_letters);
        self.output.records.clear();
        self.output.dead_letters.clear();
        if matches!(self.executor, Executor::Pool(_)) {
            self.context.process.budget.release(size);
        }
        self.spare.push(batch.records);
        self.spare_work.push(work);
        Ok(())
    }
}
