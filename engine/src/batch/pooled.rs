//! Batches that are run on threads beside the worker: they are handed over when they are closed, or when they are
//! due and a thread is free; their results are sent when they come back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use timely::dataflow::operators::InputCapability;

use super::common::Common;
use super::gather::Gathered;
use super::logic::{BatchLogic, BatchTimes};
use super::machine::Machine;
use super::pool::{Done, Pool};
use crate::error::JobError;
use crate::packet::Packet;
use crate::threads;
use crate::time::Moment;

/// A batch that the threads have.
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

pub(super) struct Pooled<L: BatchLogic> {
    pub(super) common: Common<L>,
    pool: Pool<L::Work>,
    /// The batches that the threads have, in the order in which they were gathered.
    flights: VecDeque<Flight<L::In, L::Work>>,
    /// The time for which it has last asked to be called again, to look for overdue threads.
    next_look: Option<Instant>,
}

impl<L: BatchLogic> Pooled<L> {
    pub(super) fn new(common: Common<L>, pool: Pool<L::Work>) -> Self {
        Self { common, pool, flights: VecDeque::new(), next_look: None }
    }

    /// Hands batches to the threads: closed ones while there is room, the open one when it is due and a thread is
    /// free.
    fn submit_due(&mut self, idle: bool) {
        while let Some(first) = self.common.gather.first() {
            let due = idle || self.common.is_due(first);
            if self.pool.is_dead() {
                let Some(batch) = self.common.gather.take_first() else { break };
                self.lose(batch, "all threads of the pool are overdue".to_owned());
                continue;
            }
            let closed = self.common.gather.is_first_closed(self.common.max_batch_size());
            if !closed && self.pool.has_free_thread() && !due {
                // One more turn: if it brings no input, the worker is idle.
                self.common.activator.activate();
                break;
            }
            // If the batch may not go yet, a thread that ends its run wakes this operator.
            let has_room = self.pool.has_room();
            let may_go = if closed { has_room } else { self.pool.has_free_thread() && has_room };
            if !may_go {
                break;
            }
            let Some(batch) = self.common.gather.take_first() else { break };
            let work = self.common.prepare(&batch);
            let gathered = threads::since(batch.since);
            let ticket = self.pool.submit(work);
            self.flights.push_back(Flight { ticket, batch, gathered, submitted: threads::now(), done: None });
        }
    }

    /// Receives the batches that the threads have finished or lost, and sends results.
    fn collect(&mut self) -> Result<(), JobError> {
        while let Some(Done { ticket, work, queued, ran }) = self.pool.collect()? {
            let Some(at) = self.flights.iter().position(|flight| flight.ticket == ticket) else { continue };
            match work {
                Ok(work) => {
                    if let Some(flight) = self.flights.get_mut(at) {
                        flight.done = Some(Landed { work, queued, ran });
                    }
                }
                Err(reason) => self.give_up(at, format!("the thread that ran it panicked: {reason}")),
            }
        }
        self.land()
    }

    /// Makes the results of finished batches: of all of them, or, if they are ordered, of those before the first
    /// unfinished one.
    fn land(&mut self) -> Result<(), JobError> {
        let ordered = self.pool.ordered();
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
            let size = batch.records.len();
            self.common.finish(batch, work, times)?;
            self.common.context.process.budget.release(size);
        }
        Ok(())
    }

    /// Gives up a thread that is overdue, and returns true; if there is none, schedules a call for when the next
    /// one would be overdue.
    fn look_for_overdue(&mut self) -> Result<bool, JobError> {
        let Some(deadline) = self.pool.deadline() else { return Ok(false) };
        // SUBTLE: the flight that was submitted first, not the first in the queue: that one may have been
        // submitted again, and the threads skip all orders that were submitted before a batch that was given up.
        let in_the_air = self.flights.iter().enumerate().filter(|(_, flight)| flight.done.is_none());
        let first = in_the_air.min_by_key(|(_, flight)| (flight.submitted, flight.ticket));
        let Some((at, flight)) = first else { return Ok(false) };
        let left = deadline.saturating_sub(threads::since(flight.submitted));
        if left.is_zero() {
            self.pool.give_up(flight.ticket)?;
            self.give_up(at, format!("no answer within {deadline:?}"));
            return Ok(true);
        }
        let Common { context, activator, .. } = &self.common;
        context.look_again(&mut self.next_look, activator, left);
        Ok(false)
    }

    /// Handles the loss of a flight's work, whose records are still here. What can still be tried is submitted
    /// once more.
    fn give_up(&mut self, at: usize, reason: String) {
        let Some(flight) = self.flights.get_mut(at) else { return };
        let mut work = L::Work::default();
        self.common.logic.prepare(flight.batch.epoch(), &flight.batch.records, &mut work);
        let more = self.common.logic.give_up(&flight.batch.records, &mut work, reason);
        if more && !self.pool.is_dead() && self.pool.has_room() {
            flight.ticket = self.pool.submit(work);
            flight.submitted = threads::now();
        } else {
            let ran = threads::since(flight.submitted);
            flight.done = Some(Landed { work, queued: Duration::ZERO, ran });
        }
    }

    /// Fails a batch because there is no thread for it; its results leave in its turn.
    fn lose(&mut self, batch: Gathered<L::In>, reason: String) {
        let mut work = L::Work::default();
        self.common.logic.prepare(batch.epoch(), &batch.records, &mut work);
        self.common.logic.give_up(&batch.records, &mut work, reason);
        let (gathered, submitted) = (threads::since(batch.since), threads::now());
        let done = Some(Landed { work, queued: Duration::ZERO, ran: Duration::ZERO });
        self.flights.push_back(Flight { ticket: 0, batch, gathered, submitted, done });
    }
}

impl<L: BatchLogic> Machine for Pooled<L> {
    fn begin(&mut self, meet: Option<Moment>) -> Result<(), JobError> {
        self.common.gather.saw(meet);
        self.collect()
    }

    /// Gathers a packet's records. They are charged to the budget: when they wait for a slow model, the sources wait
    /// too.
    fn take(&mut self, capability: &InputCapability<Moment>, moment: Moment, packet: Packet) -> Result<(), JobError> {
        self.common.context.process.budget.charge(packet.len());
        let max_batch_size = self.common.max_batch_size();
        let mut records = self.common.open(packet)?;
        let mut records = records.drain(..);
        while !records.as_slice().is_empty() {
            self.common.gather.add(capability, moment, &mut records, max_batch_size);
        }
        Ok(())
    }

    /// Hands the batches that are due to the threads, and sends the results of those that they have finished.
    fn work_off(&mut self, idle: bool) -> Result<(), JobError> {
        self.submit_due(idle);
        // A batch that was given up makes room for others, and no thread will wake this operator for them.
        while self.look_for_overdue()? {
            self.submit_due(idle);
        }
        self.land()?;
        self.common.send();
        Ok(())
    }

    fn is_saturated(&self) -> bool {
        !self.pool.has_free_thread()
    }
}
