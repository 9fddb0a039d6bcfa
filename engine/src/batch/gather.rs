//! The gathering of records of one epoch into batches, in the order in which they come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use std::vec::Drain;

use timely::dataflow::operators::{Capability, InputCapability};

use crate::record::Record;
use crate::threads;
use crate::time::{Epoch, Moment};

/// A batch of records of one epoch, with the capabilities to send its results.
pub(super) struct Gathered<I> {
    pub(super) main: Capability<Moment>,
    pub(super) dead: Capability<Moment>,
    pub(super) since: Instant,
    pub(super) records: Vec<Record<I>>,
}

impl<I> Gathered<I> {
    /// Returns the epoch of its records.
    pub(super) fn epoch(&self) -> Epoch {
        self.main.time().epoch
    }
}

/// The batches that are not run yet. Only the last one is open; the others are full or of an earlier epoch.
pub(super) struct Gather<I> {
    batches: VecDeque<Gathered<I>>,
    /// Allocations of finished batches, to be reused by the next ones.
    spare: Vec<Vec<Record<I>>>,
    /// The meet of the input's frontier; `None` when nothing can come any more.
    meet: Option<Moment>,
}

impl<I> Gather<I> {
    pub(super) fn new() -> Self {
        Self { batches: VecDeque::new(), spare: Vec::new(), meet: None }
    }

    /// Sets the meet of the input's frontier.
    pub(super) fn saw(&mut self, meet: Option<Moment>) {
        self.meet = meet;
    }

    /// Returns whether records of `moment` go into the open batch. Results belong to the epoch of their records, so a
    /// batch never spans two epochs.
    pub(super) fn is_open_to(&self, moment: Moment, max_batch_size: usize) -> bool {
        let open = self.batches.back();
        open.is_some_and(|open| open.epoch() == moment.epoch && open.records.len() < max_batch_size)
    }

    /// Adds records of a message to one batch, as many as it has room for: to the open one, or to a new one if
    /// that is not open to them. Returns whether the batch is full.
    pub(super) fn add(
        &mut self,
        capability: &InputCapability<Moment>,
        moment: Moment,
        records: &mut Drain<'_, Record<I>>,
        max_batch_size: usize,
    ) -> bool {
        if !self.is_open_to(moment, max_batch_size) {
            self.batches.push_back(Gathered {
                main: capability.delayed(&moment, 0),
                dead: capability.delayed(&moment, 1),
                since: threads::now(),
                records: self.spare.pop().unwrap_or_default(),
            });
        }
        let Some(open) = self.batches.back_mut() else { return false };
        // The batch has the least watermark of its messages, so that batching makes no result late.
        if moment.watermark < open.main.time().watermark {
            open.main = capability.delayed(&moment, 0);
            open.dead = capability.delayed(&moment, 1);
        }
        let room = max_batch_size - open.records.len();
        open.records.extend(records.by_ref().take(room));
        open.records.len() >= max_batch_size
    }

    /// Returns the batch that is run next.
    pub(super) fn first(&self) -> Option<&Gathered<I>> {
        self.batches.front()
    }

    pub(super) fn take_first(&mut self) -> Option<Gathered<I>> {
        self.batches.pop_front()
    }

    /// Returns whether the first batch is closed: full, or followed by another one.
    pub(super) fn is_first_closed(&self, max_batch_size: usize) -> bool {
        self.batches.len() > 1 || self.first().is_some_and(|first| first.records.len() >= max_batch_size)
    }

    /// Returns whether a batch is not to be filled any longer: its epoch is over, or it is as old as `max_delay`
    /// allows, or as `max_watermark_delay` allows if it delays the watermark.
    pub(super) fn is_due(&self, batch: &Gathered<I>, max_delay: Duration, max_watermark_delay: Duration) -> bool {
        let at = batch.main.time();
        let Some(meet) = self.meet.filter(|meet| meet.epoch <= at.epoch) else { return true };
        let overtaken = meet.watermark > at.watermark;
        threads::since(batch.since) >= if overtaken { max_watermark_delay.min(max_delay) } else { max_delay }
    }

    /// Keeps the allocation of a batch for reuse.
    pub(super) fn reuse(&mut self, records: Vec<Record<I>>) {
        self.spare.push(records);
    }
}
