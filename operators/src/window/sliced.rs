//! Sliding windows over shared slices: a record goes into one accumulator, however many windows it is in.
//!
//! ```text
//! records ─▶ open slices ── a window ends ─▶ closed slices (appended once, cut at the front) ─▶ result
//!    ├─ late, into a closed slice ─▶ late slices, beside the closed ones; ended windows in allowed lateness tell again
//!    └─ later than the last window of its slice ─▶ side output
//! ```
//! A window's result is put together from partial results by two stacks (Tangwongsan, Hirzel, Schneider, "Low-latency
//! sliding-window aggregation in worst-case constant time", 2017, section 2): one or two merges per slice and per
//! result, and one for each late slice. They are not stored, but made again after a restore.
//!
//! Invariant: slices of the queue come one after the other in time, all before `closed`; `open` ones come after.
//! Known limit: accumulators that grow with their records are merged anew for each result.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tidemill_engine::shell::{ListState, LogicError, ParameterStates};
use tidemill_engine::{Data, EventTime, JobError, Record};
use tidemill_state::{Key, Queue};

use super::aggregate::Aggregate;
use super::assigner::Slices;
use super::result::{WindowContext, tell};
use super::span::Window;
use super::spec::{Firing, Plan};
use crate::search::first_where;

#[derive(Clone, Serialize, Deserialize)]
struct Slice<A> {
    window: Window,
    accumulator: A,
}

/// What a key has beside its closed slices.
#[derive(Serialize, Deserialize)]
#[serde(bound = "A: Serialize + serde::de::DeserializeOwned")]
struct Beside<A> {
    /// Not yet in any result, by time.
    open: VecDeque<Slice<A>>,
    /// What came into closed slices, by time.
    late: VecDeque<Slice<A>>,
    /// Up to here slices are closed.
    closed: EventTime,
    /// When the next window ends that has something in it, or else when what is left is forgotten.
    next: Option<EventTime>,
    #[serde(skip, default = "Stacks::new")]
    stacks: Stacks<A>,
}

impl<A> Default for Beside<A> {
    fn default() -> Self {
        Self { open: VecDeque::new(), late: VecDeque::new(), closed: EventTime::MIN, next: None, stacks: Stacks::new() }
    }
}

/// Partial results of the closed slices `from..to` of the queue.
struct Stacks<A> {
    from: u64,
    to: u64,
    /// Of the first slices: each of itself and all after it of these, the oldest last.
    front: Vec<A>,
    /// Of all slices after those.
    back: Option<A>,
}

impl<A> Stacks<A> {
    fn new() -> Self {
        Self { from: 0, to: 0, front: Vec::new(), back: None }
    }
}

pub(super) struct SlicedWindows<K: Key, A: Aggregate> {
    plan: Plan,
    slices: Slices,
    aggregate: A,
    state: ListState<K, Slice<A::Accumulator>, Beside<A::Accumulator>>,
}

impl<K: Key + Data, A: Aggregate> SlicedWindows<K, A>
where
    A::In: Data,
{
    pub(super) fn open(
        states: &mut ParameterStates<'_, K>,
        plan: Plan,
        slices: Slices,
        aggregate: A,
    ) -> Result<Self, JobError> {
        Ok(Self { plan, slices, aggregate, state: states.list_with_header("slices")? })
    }

    /// When nothing of a slice is needed any more.
    fn forgotten_at(&self, slice: Window) -> EventTime {
        self.slices.last_end_of(slice).plus_ms(self.plan.allowed_lateness_ms)
    }

    pub(super) fn on_record(&self, ctx: &mut WindowContext<'_, K, A>, record: Record<A::In>) -> Result<(), LogicError> {
        let clock = self.plan.clock;
        let (now, time) = (clock.now(ctx), clock.of_record(ctx));
        if time <= now && self.forgotten_at(self.slices.of(time)) <= now {
            ctx.side(record.data);
            return Ok(());
        }
        let (timer, told) = self.state.with(ctx, |log| {
            let (beside, queue) = log.parts();
            // Most records are of the latest slice, whose windows are looked after already.
            if let Some(latest) = beside.open.back_mut()
                && latest.window.start <= time
                && time < latest.window.end
            {
                self.aggregate.add(&mut latest.accumulator, &record.data);
                let slice = latest.window;
                return (None, self.ended_windows(beside, queue, slice, now));
            }
            let slice = self.slices.of(time);
            let closed = slice.start < beside.closed;
            self.add(if closed { &mut beside.late } else { &mut beside.open }, slice, &record.data);
            // No window tells of it before its end: that is likely looked after already.
            let sooner = match beside.next {
                Some(planned) if planned <= slice.end => None,
                planned => {
                    Some(self.next_after(now, slice)).filter(|next| planned.is_none_or(|planned| *next < planned))
                }
            };
            beside.next = sooner.or(beside.next);
            (sooner, self.ended_windows(beside, queue, slice, now))
        })?;
        if let Some(at) = timer {
            clock.set_timer(ctx, at);
        }
        told.into_iter().for_each(|(window, value)| tell(ctx, clock, window, Firing::Late, value));
        Ok(())
    }

    /// When the next window after `now` ends that tells of `slice`; when all have ended, it is kept for its lateness.
    fn next_after(&self, now: EventTime, slice: Window) -> EventTime {
        if self.slices.last_end_of(slice) > now {
            self.slices.first_end_after(now, slice)
        } else {
            self.forgotten_at(slice)
        }
    }

    fn add(&self, slices: &mut VecDeque<Slice<A::Accumulator>>, window: Window, record: &A::In) {
        // The latest slices are the likely ones.
        let after = slices.iter().rposition(|s| s.window <= window).map_or(0, |at| at + 1);
        if after == 0 || slices[after - 1].window != window {
            slices.insert(after, Slice { window, accumulator: self.aggregate.empty() });
            self.aggregate.add(&mut slices[after].accumulator, record);
        } else {
            self.aggregate.add(&mut slices[after - 1].accumulator, record);
        }
    }

    /// New results of the windows with `slice` that have ended and are still in their allowed lateness.
    fn ended_windows(
        &self,
        beside: &Beside<A::Accumulator>,
        queue: &Queue<Slice<A::Accumulator>>,
        slice: Window,
        now: EventTime,
    ) -> Vec<(Window, A::Out)> {
        let mut told = Vec::new();
        if slice.end > now {
            return told;
        }
        let forgotten = now.plus_ms(-self.plan.allowed_lateness_ms);
        let mut end = self.slices.first_end_after(EventTime::MIN, slice);
        if end <= forgotten {
            end = self.slices.first_end_after(forgotten, slice);
        }
        let last = self.slices.last_end_of(slice).min(now);
        while end <= last {
            let window = self.slices.ending_at(end);
            let inside = |s: &&Slice<A::Accumulator>| window.start <= s.window.start && s.window.end <= window.end;
            let mut result = self.aggregate.empty();
            for slice in queue.iter().chain(&beside.late).chain(&beside.open).filter(inside) {
                self.aggregate.merge(&mut result, &slice.accumulator);
            }
            told.push((window, self.aggregate.finish(&result)));
            let next = self.slices.end_after(end);
            if next == end {
                break;
            }
            end = next;
        }
        told
    }

    /// Time has come to `at`: windows end, and what is left of them is forgotten.
    pub(super) fn on_time(&self, ctx: &mut WindowContext<'_, K, A>, at: EventTime) -> Result<(), LogicError> {
        let clock = self.plan.clock;
        let (told, next) = self.state.with(ctx, |log| {
            // Nearly always one.
            let mut told = SmallVec::<[_; 1]>::new();
            while let Some(due) = log.header().next.filter(|next| *next <= at) {
                let (beside, queue) = log.parts();
                let window = self.slices.ending_at(due);
                if self.plan.allowed_lateness_ms == 0
                    || due == EventTime::MAX
                    || self.slices.first_end_after(due.plus_ms(-1), window) == due
                {
                    told.extend(self.close(beside, queue, window).map(|value| (window, value)));
                }
                self.forget(beside, queue, due);
                beside.next = self.next(beside, queue, due).filter(|_| due < EventTime::MAX);
            }
            (told, log.header().next)
        })?;
        match next {
            // It is set already where a record has set it; setting it again changes nothing.
            Some(next) => clock.set_timer(ctx, next),
            None => self.state.remove(ctx)?,
        }
        told.into_iter().for_each(|(window, value)| tell(ctx, clock, window, Firing::OnTime, value));
        Ok(())
    }

    /// Closes the slices up to the end of `window`, and its result, if there is anything in it.
    fn close(
        &self,
        beside: &mut Beside<A::Accumulator>,
        queue: &mut Queue<Slice<A::Accumulator>>,
        window: Window,
    ) -> Option<A::Out> {
        while let Some(slice) = beside.open.pop_front_if(|slice| slice.window.end <= window.end) {
            queue.push_back(slice);
        }
        beside.closed = beside.closed.max(window.end);
        let first = first_where(queue, |slice| slice.window.start >= window.start);
        let late = beside.late.iter().filter(|slice| slice.window.start >= window.start);
        let mut late = late.filter(|slice| slice.window.end <= window.end).peekable();
        if first == queue.tail() && late.peek().is_none() {
            return None;
        }
        let mut result = self.closed_from(&mut beside.stacks, queue, first);
        late.for_each(|slice| self.aggregate.merge(&mut result, &slice.accumulator));
        Some(self.aggregate.finish(&result))
    }

    /// What the closed slices from `first` on hold together.
    fn closed_from(
        &self,
        stacks: &mut Stacks<A::Accumulator>,
        queue: &Queue<Slice<A::Accumulator>>,
        first: u64,
    ) -> A::Accumulator {
        let between = |from: u64, to: u64| (from..to).filter_map(|at| queue.get(at));
        let merge = |mut into: A::Accumulator, slice: &Slice<A::Accumulator>| {
            self.aggregate.merge(&mut into, &slice.accumulator);
            into
        };
        if A::GROWS {
            return between(first, queue.tail()).fold(self.aggregate.empty(), merge);
        }
        let front_end = stacks.from + stacks.front.len() as u64;
        if first < stacks.from || first >= front_end {
            // The front is used up (or this is the first time): what is left becomes it.
            stacks.front.clear();
            stacks.back = None;
            for at in (first..queue.tail()).rev() {
                let Some(slice) = queue.get(at) else { continue };
                let mut partial = slice.accumulator.clone();
                if let Some(after) = stacks.front.last() {
                    self.aggregate.merge(&mut partial, after);
                }
                stacks.front.push(partial);
            }
        } else {
            stacks.front.truncate((front_end - first) as usize);
            let back = stacks.back.take();
            stacks.back = between(stacks.to, queue.tail())
                .fold(back, |back, slice| Some(merge(back.unwrap_or_else(|| self.aggregate.empty()), slice)));
        }
        (stacks.from, stacks.to) = (first, queue.tail());
        let mut result = stacks.front.last().cloned().unwrap_or_else(|| self.aggregate.empty());
        if let Some(back) = &stacks.back {
            self.aggregate.merge(&mut result, back);
        }
        result
    }

    /// Lets go of slices that no window will tell of any more.
    fn forget(&self, beside: &mut Beside<A::Accumulator>, queue: &mut Queue<Slice<A::Accumulator>>, at: EventTime) {
        let kept_from = self.slices.first_held_after(at, self.plan.allowed_lateness_ms);
        let over = |slice: &Slice<A::Accumulator>| i128::from(slice.window.start.0) < kept_from;
        while queue.front().is_some_and(over) {
            queue.pop_front();
        }
        while beside.late.pop_front_if(|slice| over(slice)).is_some() {}
        while beside.open.pop_front_if(|slice| over(slice)).is_some() {}
    }

    /// When there is something to do next.
    fn next(
        &self,
        beside: &Beside<A::Accumulator>,
        queue: &Queue<Slice<A::Accumulator>>,
        at: EventTime,
    ) -> Option<EventTime> {
        let from = self.slices.first_held_after(at, 0);
        let window = |slice: &Slice<A::Accumulator>| slice.window;
        // What comes later in time ends later: the first slice of each kind will do.
        let to_come = |slice: Window| i128::from(slice.start.0) >= from;
        let first_to_come = |slices: &VecDeque<Slice<A::Accumulator>>| slices.iter().map(window).find(|s| to_come(*s));
        let closed = queue.get(first_where(queue, |slice| to_come(slice.window))).map(window);
        let firsts = [closed, first_to_come(&beside.late), first_to_come(&beside.open)];
        let first = firsts.into_iter().flatten().min_by_key(|slice| slice.end);
        let end = first.map(|slice| self.slices.first_end_after(at, slice));
        // Any slice's last window is to come, or else it waits to be forgotten.
        let oldest = [queue.front(), beside.late.front(), beside.open.front()];
        end.or_else(|| oldest.into_iter().flatten().map(|slice| self.forgotten_at(slice.window)).min())
    }
}
