//! Sliding windows that share slices: a record is added to one accumulator, however many windows it is in.
//!
//! ```text
//! records ─▶ open slices ── a window ends ─▶ closed slices (appended once, cut at the front) ─▶ result
//!    ├─ late, into a closed slice ─▶ late slices, beside the closed ones; ended windows in allowed lateness fire again
//!    └─ later than the last window of its slice ─▶ side output
//! ```
//! A window's result is merged from partial results that are kept in two stacks (Tangwongsan, Hirzel, Schneider,
//! "Low-latency sliding-window aggregation in worst-case constant time", 2017, section 2): one or two merges per slice
//! and per result, and one for each late slice. The stacks are not stored, but computed again after a restore.
//!
//! Invariant: the slices of the queue are ordered by time, and all are before `closed`; the `open` ones come after.
//! Known limit: accumulators that grow with their records are merged from all slices for each result.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tidemill_engine::shell::{ListState, LogicError, ParameterStates};
use tidemill_engine::{Data, EventTime, JobError, Record};
use tidemill_state::{Key, Queue};

use super::aggregate::Aggregate;
use super::assigner::Slices;
use super::result::{WindowContext, emit};
use super::span::Window;
use super::spec::{Firing, Plan};
use crate::search::first_where;

#[derive(Clone, Serialize, Deserialize)]
struct Slice<A> {
    window: Window,
    accumulator: A,
}

/// The state of a key beside its closed slices, which are in the queue.
#[derive(Serialize, Deserialize)]
#[serde(bound = "A: Serialize + serde::de::DeserializeOwned")]
struct Beside<A> {
    /// Slices that are not yet in any result, sorted by time.
    open: VecDeque<Slice<A>>,
    /// Late records of closed slices, as slices of their own, sorted by time.
    late: VecDeque<Slice<A>>,
    /// The time up to which slices are closed.
    closed: EventTime,
    /// The end of the next window that has records; if there is none, the time at which the next slice is removed.
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
    /// Partial results of the first slices. Each covers one slice and all later slices of the front; that of the oldest
    /// slice is last.
    front: Vec<A>,
    /// The partial result of all slices after the front.
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
        let state: ListState<K, _, Beside<A::Accumulator>> = states.list_with_header("slices")?;
        // Slices lie apart from each other and from the keys in memory.
        state.prefetch_with(|log| {
            if let Some(latest) = log.header().open.back() {
                std::hint::black_box(latest.window.end);
                A::prefetch(&latest.accumulator);
            }
        });
        Ok(Self { plan, slices, aggregate, state })
    }

    /// Returns the time at which a slice is no longer needed.
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
        let (timer, results) = self.state.with(ctx, |log| {
            let (beside, queue) = log.parts();
            // Most records belong to the latest slice, whose windows have their timers already.
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
            // No window with this slice fires before the slice ends, and a timer for that is likely set already.
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
        results.into_iter().for_each(|(window, value)| emit(ctx, clock, window, Firing::Late, value));
        Ok(())
    }

    /// Returns the end, after `now`, of the next window that contains `slice`. If all of them have ended, returns the
    /// end of the allowed lateness of the last one.
    fn next_after(&self, now: EventTime, slice: Window) -> EventTime {
        if self.slices.last_end_of(slice) > now {
            self.slices.first_end_after(now, slice)
        } else {
            self.forgotten_at(slice)
        }
    }

    fn add(&self, slices: &mut VecDeque<Slice<A::Accumulator>>, window: Window, record: &A::In) {
        // The search begins with the latest slices, which are the likely ones.
        let after = slices.iter().rposition(|s| s.window <= window).map_or(0, |at| at + 1);
        if after == 0 || slices[after - 1].window != window {
            slices.insert(after, Slice { window, accumulator: self.aggregate.empty() });
            self.aggregate.add(&mut slices[after].accumulator, record);
        } else {
            self.aggregate.add(&mut slices[after - 1].accumulator, record);
        }
    }

    /// Returns new results of the windows that contain `slice`, have ended and are still in their allowed lateness.
    fn ended_windows(
        &self,
        beside: &Beside<A::Accumulator>,
        queue: &Queue<Slice<A::Accumulator>>,
        slice: Window,
        now: EventTime,
    ) -> Vec<(Window, A::Out)> {
        let mut results = Vec::new();
        if slice.end > now {
            return results;
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
            results.push((window, self.aggregate.finish(&result)));
            let next = self.slices.end_after(end);
            if next == end {
                break;
            }
            end = next;
        }
        results
    }

    /// Fires the windows that end up to `at`, and removes slices that are no longer needed.
    pub(super) fn on_time(&self, ctx: &mut WindowContext<'_, K, A>, at: EventTime) -> Result<(), LogicError> {
        let clock = self.plan.clock;
        let (results, next) = self.state.with(ctx, |log| {
            // There is nearly always one result.
            let mut results = SmallVec::<[_; 1]>::new();
            while let Some(due) = log.header().next.filter(|next| *next <= at) {
                let (beside, queue) = log.parts();
                let window = self.slices.ending_at(due);
                if self.plan.allowed_lateness_ms == 0
                    || due == EventTime::MAX
                    || self.slices.first_end_after(due.plus_ms(-1), window) == due
                {
                    results.extend(self.close(beside, queue, window).map(|value| (window, value)));
                }
                self.forget(beside, queue, due);
                beside.next = self.next(beside, queue, due).filter(|_| due < EventTime::MAX);
            }
            (results, log.header().next)
        })?;
        match next {
            // A record may have set this timer already; setting it again changes nothing.
            Some(next) => clock.set_timer(ctx, next),
            None => self.state.remove(ctx)?,
        }
        results.into_iter().for_each(|(window, value)| emit(ctx, clock, window, Firing::OnTime, value));
        Ok(())
    }

    /// Closes the slices up to the end of `window`, and returns the result of the window if it has any records.
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

    /// Returns the merged accumulator of the closed slices from `first` on.
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
            // The front is used up, or this is the first call: the remaining slices become the front.
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

    /// Removes slices that no window needs any more.
    fn forget(&self, beside: &mut Beside<A::Accumulator>, queue: &mut Queue<Slice<A::Accumulator>>, at: EventTime) {
        let kept_from = self.slices.first_needed_after(at, self.plan.allowed_lateness_ms);
        let over = |slice: &Slice<A::Accumulator>| i128::from(slice.window.start.0) < kept_from;
        while queue.front().is_some_and(over) {
            queue.pop_front();
        }
        while beside.late.pop_front_if(|slice| over(slice)).is_some() {}
        while beside.open.pop_front_if(|slice| over(slice)).is_some() {}
    }

    /// Returns the next time at which a window fires or a slice is removed.
    fn next(
        &self,
        beside: &Beside<A::Accumulator>,
        queue: &Queue<Slice<A::Accumulator>>,
        at: EventTime,
    ) -> Option<EventTime> {
        let from = self.slices.first_needed_after(at, 0);
        let window = |slice: &Slice<A::Accumulator>| slice.window;
        // Later slices end later, so the first slice of each kind is enough.
        let to_come = |slice: Window| i128::from(slice.start.0) >= from;
        let first_to_come = |slices: &VecDeque<Slice<A::Accumulator>>| slices.iter().map(window).find(|s| to_come(*s));
        let closed = queue.get(first_where(queue, |slice| to_come(slice.window))).map(window);
        let firsts = [closed, first_to_come(&beside.late), first_to_come(&beside.open)];
        let first = firsts.into_iter().flatten().min_by_key(|slice| slice.end);
        let end = first.map(|slice| self.slices.first_end_after(at, slice));
        // If the last window of each slice has ended, the slices only wait to be removed.
        let oldest = [queue.front(), beside.late.front(), beside.open.front()];
        end.or_else(|| oldest.into_iter().flatten().map(|slice| self.forgotten_at(slice.window)).min())
    }
}
