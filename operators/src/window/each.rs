//! Windows that have an accumulator each: tumbling, session, global and calendar windows, those that a program defines
//! itself, and sliding windows that cannot share slices because of their trigger or mode.
//!
//! ```text
//! records ─▶ assign windows ─▶ accumulate ─▶ timer at window end ─▶ result
//!    │            │               ├─ early: timers of the trigger, or every n records ─▶ result so far
//!    │            │               └─ kept for the allowed lateness: late records give new results
//!    └─ later than every window's end + allowed lateness ─▶ side output
//! ```
//! Invariant: a window of a key has a timer at its end until it fires, then one at the end of its allowed lateness,
//! when it is removed. The windows of a key are sorted by start and, except those of a program's own assigner, by end.
//! Known limit: an epoch that changes one window of a key writes all open windows of that key.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{LogicError, ParameterStates, ValueState};
use tidemill_engine::{Data, EventTime, JobError, ProcessingTime, Record};
use tidemill_state::Key;

use super::aggregate::Aggregate;
use super::assigner::next_multiple;
use super::result::{WindowContext, emit};
use super::span::Window;
use super::spec::{AccumulationMode, Firing, Plan, TimeDomain};

/// An open window of a key.
#[derive(Clone, Serialize, Deserialize)]
struct Open<A, O> {
    window: Window,
    /// Whether the clock has passed the end of the window.
    fired: bool,
    /// Number of records since the window last fired.
    since_fired: u64,
    /// Time at which the window fires early next.
    early_at: Option<EventTime>,
    /// The result that it last emitted, where that may have to be retracted. It is boxed, since most windows have none.
    emitted: Option<Box<O>>,
    accumulator: A,
}

impl<A, O> Open<A, O> {
    /// Returns whether the window needs the key's timer at `at`.
    fn needs(&self, at: EventTime, forgotten_at: EventTime) -> bool {
        (!self.fired && self.window.end == at) || (self.fired && forgotten_at == at) || self.early_at == Some(at)
    }
}

type OpenOf<A> = Open<<A as Aggregate>::Accumulator, <A as Aggregate>::Out>;
type Results<A> = Vec<(Window, Firing, <A as Aggregate>::Out)>;

pub(super) struct EachWindow<K: Key, A: Aggregate> {
    plan: Plan,
    aggregate: A,
    open: ValueState<K, VecDeque<OpenOf<A>>>,
}

impl<K: Key + Data, A: Aggregate> EachWindow<K, A>
where
    A::In: Data,
{
    pub(super) fn open(states: &mut ParameterStates<'_, K>, plan: Plan, aggregate: A) -> Result<Self, JobError> {
        let open: ValueState<K, VecDeque<OpenOf<A>>> = states.value("windows")?;
        // Windows lie apart from each other and from the keys in memory.
        open.prefetch_with(|open| {
            if let Some(latest) = open.back() {
                std::hint::black_box(latest.window.end);
                A::prefetch(&latest.accumulator);
            }
        });
        Ok(Self { plan, aggregate, open })
    }

    fn forgotten_at(&self, window: Window) -> EventTime {
        window.end.plus_ms(self.plan.allowed_lateness_ms)
    }

    pub(super) fn on_record(&self, ctx: &mut WindowContext<'_, K, A>, record: Record<A::In>) -> Result<(), LogicError> {
        if self.add_to_latest(ctx, &record.data)? {
            return Ok(());
        }
        let (mut first, mut more) = (None, Vec::new());
        let time = self.plan.clock.of_record(ctx);
        self.plan.cut.assign(time, |window| match &mut first {
            none @ None => *none = Some(window),
            Some(_) => more.push(window),
        });
        // Only windows of a program's own assigner are checked: tests show that those of the library contain the time.
        if self.plan.cut.nests()
            && let Some(Window { start, end }) = first.iter().chain(&more).find(|window| !window.holds(time))
        {
            let parameters = self.plan.cut.parameters();
            let reason = format!("its assigner ({parameters}) gave the window [{start}, {end}) for {time}");
            return Err(LogicError::Record(reason));
        }
        let mut taken = false;
        for window in first.into_iter().chain(more) {
            let over = self.forgotten_at(window) <= self.plan.clock.now(ctx);
            // A session of a late record may still overlap an open one.
            if !over || (self.plan.cut.merges() && self.overlaps_open(ctx, window)?) {
                self.add(ctx, window, &record.data)?;
                taken = true;
            }
        }
        if !taken {
            ctx.side(record.data);
        }
        Ok(())
    }

    /// Adds the record to the latest window of its key, and returns whether that was all there was to do. This is
    /// so for most records: they belong to that window and change nothing but its accumulator.
    fn add_to_latest(&self, ctx: &WindowContext<'_, K, A>, record: &A::In) -> Result<bool, LogicError> {
        let (time, trigger) = (self.plan.clock.of_record(ctx), self.plan.trigger);
        if !self.plan.cut.is_end_to_end() || trigger.records.is_some() || self.plan.early.is_some() {
            return Ok(false);
        }
        // A late record may belong to a window that has been removed.
        let now = self.plan.clock.now(ctx);
        if time < now || now == EventTime::MAX {
            return Ok(false);
        }
        Ok(self.open.update(ctx, VecDeque::new, |open| {
            let latest = open.back_mut().filter(|slot| slot.window.start <= time && time < slot.window.end);
            latest.is_some_and(|slot| {
                self.aggregate.add(&mut slot.accumulator, record);
                slot.since_fired += 1;
                true
            })
        })?)
    }

    fn overlaps_open(&self, ctx: &WindowContext<'_, K, A>, window: Window) -> Result<bool, LogicError> {
        Ok(self.open.read(ctx, |open| open.is_some_and(|open| open.iter().any(|o| o.window.overlaps(window))))?)
    }

    fn add(&self, ctx: &mut WindowContext<'_, K, A>, window: Window, record: &A::In) -> Result<(), LogicError> {
        let (clock, trigger) = (self.plan.clock, self.plan.trigger);
        let (now, time) = (clock.now(ctx), clock.of_record(ctx));
        let (mut results, mut needless) = (Vec::new(), Vec::new());
        let processing = EventTime(ctx.processing_time().0);
        let (timer, early_timer) = self.open.update(ctx, VecDeque::new, |open| {
            let (at, mut opened) = match self.plan.cut.merges() {
                true => self.merge_overlapping(open, window, &mut results, &mut needless),
                false => self.find_or_open(open, window),
            };
            let slot = &mut open[at];
            self.aggregate.add(&mut slot.accumulator, record);
            slot.since_fired += 1;
            let (mut timer, mut early_timer) = (slot.window.end, None);
            if slot.window.end <= now {
                opened |= !slot.fired;
                slot.fired = true;
                timer = self.forgotten_at(slot.window);
                if !trigger.late_at_end {
                    self.fire(slot, Firing::Late, &mut results);
                }
            } else {
                if trigger.records.is_some_and(|records| slot.since_fired >= records.get()) {
                    self.fire(slot, Firing::Early, &mut results);
                }
                if let Some((every_ms, of)) = self.plan.early
                    && slot.early_at.is_none()
                    && slot.since_fired > 0
                {
                    let next = next_multiple(if of == clock { now.max(time) } else { processing }, every_ms);
                    // The window fires at its end anyway.
                    slot.early_at = (of != clock || next < slot.window.end).then_some(next);
                    early_timer = slot.early_at.map(|at| (of, at));
                }
            }
            needless.retain(|at| !open.iter().any(|o| o.needs(*at, self.forgotten_at(o.window))));
            (opened.then_some(timer), early_timer)
        })?;
        needless.into_iter().for_each(|at| clock.cancel_timer(ctx, at));
        if let Some(at) = timer {
            clock.set_timer(ctx, at);
        }
        if let Some((of, at)) = early_timer {
            match of {
                TimeDomain::Event => ctx.set_timer(at),
                TimeDomain::Processing => ctx.set_processing_timer(ProcessingTime(at.0)),
            }
        }
        self.emit(ctx, results);
        Ok(())
    }

    /// Returns the position of `window` among the open windows, and whether this call opened it.
    fn find_or_open(&self, open: &mut VecDeque<OpenOf<A>>, window: Window) -> (usize, bool) {
        // The search begins with the latest windows, which are the likely ones.
        let after = open.iter().rposition(|o| o.window <= window).map_or(0, |at| at + 1);
        if after > 0 && open[after - 1].window == window {
            return (after - 1, false);
        }
        open.insert(after, self.empty(window));
        (after, true)
    }

    fn empty(&self, window: Window) -> OpenOf<A> {
        let accumulator = self.aggregate.empty();
        Open { window, fired: false, since_fired: 0, early_at: None, emitted: None, accumulator }
    }

    /// Merges `window` with all open windows that it overlaps. Returns the position of the merged window, and whether
    /// its span is new. Timers of the old windows that may no longer be needed are added to `needless`.
    fn merge_overlapping(
        &self,
        open: &mut VecDeque<OpenOf<A>>,
        window: Window,
        results: &mut Results<A>,
        needless: &mut Vec<EventTime>,
    ) -> (usize, bool) {
        // Open windows do not overlap each other, so those that `window` overlaps lie side by side.
        let is_before = |other: &OpenOf<A>| other.window.end <= window.start && !other.window.overlaps(window);
        let first = open.partition_point(is_before);
        let count = open.range(first..).take_while(|other| other.window.overlaps(window)).count();
        if count == 0 {
            open.insert(first, self.empty(window));
            return (first, true);
        }
        let mut rest = open.drain(first + 1..first + count).collect::<Vec<_>>();
        let merged = &mut open[first];
        let before = merged.window;
        let end = rest.last().map_or(before.end, |last| last.window.end).max(before.end).max(window.end);
        let after = Window { start: before.start.min(window.start), end };
        if after == before {
            return (first, false);
        }
        for (other, fired) in std::iter::once((before, merged.fired)).chain(rest.iter().map(|o| (o.window, o.fired))) {
            needless.push(if fired { self.forgotten_at(other) } else { other.end });
        }
        if let Some(value) = merged.emitted.take() {
            results.push((before, Firing::Retraction, *value));
        }
        for other in &mut rest {
            if let Some(value) = other.emitted.take() {
                results.push((other.window, Firing::Retraction, *value));
            }
            self.aggregate.merge(&mut merged.accumulator, &other.accumulator);
            merged.since_fired += other.since_fired;
            merged.early_at = [merged.early_at, other.early_at].into_iter().flatten().min();
        }
        (merged.window, merged.fired) = (after, false);
        (first, true)
    }

    fn fire(&self, slot: &mut OpenOf<A>, firing: Firing, results: &mut Results<A>) {
        let value = self.aggregate.finish(&slot.accumulator);
        match self.plan.mode {
            AccumulationMode::Accumulating => {}
            AccumulationMode::Discarding => slot.accumulator = self.aggregate.empty(),
            AccumulationMode::Retracting => {
                let before = slot.emitted.replace(Box::new(value.clone()));
                results.extend(before.map(|before| (slot.window, Firing::Retraction, *before)));
            }
        }
        slot.since_fired = 0;
        results.push((slot.window, firing, value));
    }

    fn emit(&self, ctx: &mut WindowContext<'_, K, A>, results: Results<A>) {
        results.into_iter().for_each(|(window, firing, value)| emit(ctx, self.plan.clock, window, firing, value));
    }

    /// Fires and removes windows when the clock `of` reaches `at`.
    pub(super) fn on_time(
        &self,
        ctx: &mut WindowContext<'_, K, A>,
        of: TimeDomain,
        at: EventTime,
    ) -> Result<(), LogicError> {
        // At the end of event time no more records come, so windows of either clock end.
        let ends = of == self.plan.clock || at == EventTime::MAX;
        let early = self.plan.early.is_some_and(|(_, clock)| clock == of);
        let accumulating = self.plan.mode == AccumulationMode::Accumulating;
        let (results, timers, empty) = self.open.update(ctx, VecDeque::new, |open| {
            let (mut results, mut timers) = (Vec::new(), Vec::new());
            if early {
                for slot in open.iter_mut().filter(|slot| slot.early_at.is_some_and(|early| early <= at)) {
                    slot.early_at = None;
                    let ended = ends && slot.window.end <= at;
                    if !ended && !slot.fired && slot.since_fired > 0 {
                        self.fire(slot, Firing::Early, &mut results);
                    }
                }
            }
            if ends {
                let nests = self.plan.cut.nests();
                let ended = |window: Window| window.end <= at;
                // Windows that have fired before are in their allowed lateness.
                let due = open.iter_mut().take_while(|slot| nests || ended(slot.window));
                for slot in due.filter(|slot| !slot.fired && ended(slot.window)) {
                    slot.fired = true;
                    timers.push(self.forgotten_at(slot.window));
                    // In the other modes, a window without new records has nothing to add or to replace.
                    if accumulating || slot.since_fired > 0 {
                        self.fire(slot, Firing::OnTime, &mut results);
                    }
                }
                let over = |slot: &OpenOf<A>| self.forgotten_at(slot.window) <= at;
                while let Some(mut slot) = take_first_if(open, nests, over) {
                    if slot.since_fired > 0 {
                        self.fire(&mut slot, Firing::Late, &mut results);
                    }
                }
            }
            (results, timers, open.is_empty())
        })?;
        if empty {
            self.open.remove(ctx)?;
        }
        for timer in timers.into_iter().filter(|timer| *timer > at) {
            self.plan.clock.set_timer(ctx, timer);
        }
        self.emit(ctx, results);
        Ok(())
    }
}

/// Removes and returns the first window that `over` is true for. Where windows do not nest, only the first one is
/// checked: if any window is over, the first one is.
fn take_first_if<T>(open: &mut VecDeque<T>, nests: bool, over: impl Fn(&T) -> bool) -> Option<T> {
    if nests {
        open.iter().position(over).and_then(|at| open.remove(at))
    } else {
        open.pop_front_if(|first| over(first))
    }
}
