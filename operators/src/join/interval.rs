//! Interval join: pairs of records whose times are within bounds of each other.
//!
//! ```text
//! left  at t ─▶ pairs with stored right records in [t + lower, t + upper], and is stored until t + upper is over
//! right at t ─▶ pairs with stored left records in [t − upper, t − lower], and is stored until t − lower is over
//! ```
//! Records come in event-time order, so each side is a queue: records are appended at its end, and removed at its front
//! as the watermark advances.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, ListState, LogicError, States};
use tidemill_engine::stream::Either;
use tidemill_engine::{Data, EventTime, JobError, Record};
use tidemill_state::{Key, StateError};

use super::kind::{JoinKind, Joined};
use crate::length::{invalid, length_ms};
use crate::search::first_where;

/// The bounds of an interval join: how far the time of a right record may be from that of a left one. Both bounds are
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between {
    /// The earliest time of the right record, relative to the left record.
    pub lower: TimeOffset,
    /// The latest time of the right record, relative to the left record.
    pub upper: TimeOffset,
}

impl Between {
    /// Returns the bounds from `lower` to `upper`, relative to the left record's time. For example, from five minutes
    /// before it to ten seconds after it is `Between::new(earlier(minutes(5)), later(secs(10)))`.
    #[must_use]
    pub const fn new(lower: TimeOffset, upper: TimeOffset) -> Self {
        Self { lower, upper }
    }
}

/// A time relative to another one: earlier, later, or the same. Made by [`earlier`] and [`later`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOffset {
    is_earlier: bool,
    length: Duration,
}

impl TimeOffset {
    /// The same time.
    pub const SAME: Self = later(Duration::ZERO);

    /// Returns the milliseconds after the other time; below zero for an earlier time.
    fn ms(self, bound: &str) -> Result<i64, String> {
        let ms = length_ms(format_args!("the {bound} bound of an interval join"), self.length)?;
        Ok(if self.is_earlier { -ms } else { ms })
    }
}

impl fmt::Display for TimeOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_earlier, length } = self;
        write!(f, "{length:?} {}", if *is_earlier { "earlier" } else { "later" })
    }
}

/// Returns the offset of a time that is `length` before another one.
#[must_use]
pub const fn earlier(length: Duration) -> TimeOffset {
    // `earlier` and `later` of zero are the same value.
    TimeOffset { is_earlier: !length.is_zero(), length }
}

/// Returns the offset of a time that is `length` after another one.
#[must_use]
pub const fn later(length: Duration) -> TimeOffset {
    TimeOffset { is_earlier: false, length }
}

#[derive(Clone, Serialize, Deserialize)]
struct Timed<T> {
    time: i64,
    data: T,
}

/// Whether each record of a queue has found a partner; empty where the kind of the join does not need it.
type Matched = VecDeque<bool>;

/// The stored records of one stream.
struct Side<K: Key, T: Data> {
    kept: ListState<K, Timed<T>, Matched>,
    /// Whether records without a partner are emitted.
    outer: bool,
    /// How far the time of a partner may be after a record's own time, in milliseconds.
    reach_ms: i64,
}

/// The logic of an interval join. Late records go to the side output.
pub struct IntervalJoinLogic<K: Key, A: Data, B: Data> {
    left: Side<K, A>,
    right: Side<K, B>,
}

type JoinContext<'a, K, A, B> = Context<'a, K, Joined<A, B>, Either<A, B>>;

impl<K: Key, A: Data, B: Data> IntervalJoinLogic<K, A, B> {
    /// Opens the state of the join.
    ///
    /// # Errors
    /// When the bounds are invalid, or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, between: Between, kind: JoinKind) -> Result<Self, JobError> {
        let Between { lower, upper } = between;
        let bounds = lower.ms("lower").and_then(|lower| Ok((lower, upper.ms("upper")?)));
        let (lower_ms, upper_ms) = bounds.map_err(|fault| invalid(states.operator(), fault))?;
        if lower_ms > upper_ms {
            let fault = format!("the lower bound of an interval join is {lower}, after the upper bound, {upper}");
            return Err(invalid(states.operator(), fault));
        }
        // The state depends on the kind, which says whether matches are stored, and on the bounds, which say for how
        // long records are stored.
        let kind_of = kind.describe();
        let mut states = states.with_parameters(format!("{kind_of} between {lower_ms} and {upper_ms} ms"));
        Ok(Self {
            left: Side { kept: states.list_with_header("left")?, outer: kind.keeps_left(), reach_ms: upper_ms },
            right: Side { kept: states.list_with_header("right")?, outer: kind.keeps_right(), reach_ms: -lower_ms },
        })
    }
}

impl<K: Key, T: Data> Side<K, T> {
    /// Returns the stored records from `from_ms` to `to_ms` after the current event time, in order, and marks them as
    /// matched.
    fn partners<O, S>(&self, ctx: &Context<'_, K, O, S>, from_ms: i64, to_ms: i64) -> Result<Vec<T>, StateError> {
        // The bounds have 128 bits: one beyond the ends of time must not be equal to a record's time at these ends.
        let now = i128::from(ctx.event_time().0);
        let (from, to) = (now + i128::from(from_ms), now + i128::from(to_ms));
        let (range, found) = self.kept.read(ctx, |log| {
            let Some(log) = log else { return (0..0, Vec::new()) };
            let time = |kept: &Timed<T>| i128::from(kept.time);
            let (from, to) = (first_where(log, |kept| time(kept) >= from), first_where(log, |kept| time(kept) > to));
            let found = (from..to).filter_map(|at| log.get(at)).map(|kept| kept.data.clone()).collect();
            let (from, to) = ((from - log.head()) as usize, (to.max(from) - log.head()) as usize);
            (from..to, found)
        })?;
        if self.outer && !range.is_empty() {
            self.kept.with(ctx, |log| log.parts().0.range_mut(range).for_each(|matched| *matched = true))?;
        }
        Ok(found)
    }

    /// Stores a record for later partners. If none can come, it is not stored, and is returned if it is to be emitted
    /// without a partner.
    fn keep<O, S>(&self, ctx: &mut Context<'_, K, O, S>, data: T, found: bool) -> Result<Option<T>, StateError> {
        if self.reach_ms < 0 {
            return Ok((self.outer && !found).then_some(data));
        }
        let time = ctx.event_time().0;
        self.kept.with(ctx, |log| {
            if self.outer {
                log.parts().0.push_back(found);
            }
            log.push_back(Timed { time, data });
        })?;
        ctx.set_timer(self.over_at(time));
        Ok(None)
    }

    /// Returns the time at which all partners of a record at `time` have come.
    fn over_at(&self, time: i64) -> EventTime {
        EventTime(time).plus_ms(self.reach_ms).plus_ms(1)
    }

    /// Removes the records for which no partner can come any more. Returns those that found none and are to be emitted,
    /// each with the last time at which a partner could have come.
    fn forget<O, S>(&self, ctx: &Context<'_, K, O, S>, at: EventTime) -> Result<Vec<(EventTime, T)>, StateError> {
        if self.kept.read(ctx, |log| log.is_none())? {
            return Ok(Vec::new());
        }
        let (alone, empty) = self.kept.with(ctx, |log| {
            let mut alone = Vec::new();
            while log.front().is_some_and(|kept| self.over_at(kept.time) <= at) {
                let matched = !self.outer || log.parts().0.pop_front().unwrap_or(true);
                if let Some(kept) = log.pop_front()
                    && !matched
                {
                    alone.push((EventTime(kept.time).plus_ms(self.reach_ms), kept.data));
                }
            }
            (alone, log.is_empty())
        })?;
        if empty {
            self.kept.remove(ctx)?;
        }
        Ok(alone)
    }
}

impl<K: Key, A: Data, B: Data> KeyedLogic for IntervalJoinLogic<K, A, B> {
    type Key = K;
    type In = Either<A, B>;
    type Out = Joined<A, B>;
    type Side = Either<A, B>;

    fn on_record(
        &mut self,
        ctx: &mut JoinContext<'_, K, A, B>,
        record: Record<Either<A, B>>,
    ) -> Result<(), LogicError> {
        if ctx.is_late() {
            ctx.side(record.data);
            return Ok(());
        }
        match record.data {
            Either::First(a) => {
                let partners = self.right.partners(ctx, -self.right.reach_ms, self.left.reach_ms)?;
                let found = !partners.is_empty();
                partners.into_iter().for_each(|b| ctx.emit(Joined::Both(a.clone(), b)));
                if let Some(alone) = self.left.keep(ctx, a, found)? {
                    ctx.emit(Joined::Left(alone));
                }
            }
            Either::Second(b) => {
                let partners = self.left.partners(ctx, -self.left.reach_ms, self.right.reach_ms)?;
                let found = !partners.is_empty();
                partners.into_iter().for_each(|a| ctx.emit(Joined::Both(a, b.clone())));
                if let Some(alone) = self.right.keep(ctx, b, found)? {
                    ctx.emit(Joined::Right(alone));
                }
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut JoinContext<'_, K, A, B>, at: EventTime) -> Result<(), LogicError> {
        for (time, a) in self.left.forget(ctx, at)? {
            ctx.emit_at(time, Joined::Left(a));
        }
        for (time, b) in self.right.forget(ctx, at)? {
            ctx.emit_at(time, Joined::Right(b));
        }
        Ok(())
    }
}
