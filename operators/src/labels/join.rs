//! The join of records with labels that come later.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, ListState, LogicError, Order, States};
use tidemill_engine::stream::{Either, KeyedStream};
use tidemill_engine::{Data, EventTime, JobError, Record, Stream};
use tidemill_state::Key;

use crate::length::{invalid, positive_ms};

/// A record with what became known of it later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Labelled<D, L> {
    /// The record.
    pub record: D,
    /// The event time of the record.
    pub at: EventTime,
    /// Its label; none if none came in time.
    pub label: Option<L>,
}

/// The outputs of a join with labels.
pub struct LabelsOutput<'s, D: Data, L: Data> {
    /// Each record once: at the event time of its label, or, without one, at the end of the wait.
    pub labelled: Stream<'s, Labelled<D, L>>,
    /// Records that came behind the watermark, without a label: theirs may have come before.
    pub late: Stream<'s, Labelled<D, L>>,
    /// Labels for which no record waits: it had another label before, its wait is over, or it never came.
    pub unmatched: Stream<'s, L>,
}

/// Adds the join with labels to keyed streams.
pub trait LabelsExt<'s, K: Key + Data, D: Data> {
    /// Joins each record with the first label of its key that becomes known at the same event time or later, and at most
    /// `wait` later. The event time of a label is when it became known, not when what it speaks of happened.
    /// * State: each record until its label comes, or `wait` is over.
    /// * Order: event time, so what is joined does not depend on the number of workers or on crashes.
    ///
    /// # Errors
    /// When `wait` is zero or has fractions of a millisecond, the name is taken, or the state cannot be opened.
    fn join_labels<L: Data>(
        self,
        name: &str,
        labels: KeyedStream<'s, K, L>,
        wait: Duration,
    ) -> Result<LabelsOutput<'s, D, L>, JobError>;
}

impl<'s, K: Key + Data, D: Data> LabelsExt<'s, K, D> for KeyedStream<'s, K, D> {
    fn join_labels<L: Data>(
        self,
        name: &str,
        labels: KeyedStream<'s, K, L>,
        wait: Duration,
    ) -> Result<LabelsOutput<'s, D, L>, JobError> {
        let open = move |states: &mut States<'_, K>| LabelLogic::open(states, wait);
        let output = self.connect(labels).process(name, Order::EventTime, open)?;
        let side = output.side;
        let late = side.clone().flat_map(|one: Either<Labelled<D, L>, L>| match one {
            Either::First(record) => Some(record),
            Either::Second(_) => None,
        });
        let unmatched = side.flat_map(|one: Either<Labelled<D, L>, L>| match one {
            Either::First(_) => None,
            Either::Second(label) => Some(label),
        });
        Ok(LabelsOutput { labelled: output.results, late, unmatched })
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Waiting<D> {
    at: i64,
    record: D,
}

/// The logic of the join. The side output has late records, and labels for which no record waits.
pub struct LabelLogic<K: Key, D: Data, L> {
    wait_ms: i64,
    waiting: ListState<K, Waiting<D>>,
    label: std::marker::PhantomData<fn(L)>,
}

impl<K: Key, D: Data, L: Data> LabelLogic<K, D, L> {
    /// Opens the state.
    ///
    /// # Errors
    /// When `wait` is zero or has fractions of a millisecond, or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, wait: Duration) -> Result<Self, JobError> {
        let wait_ms = positive_ms("the wait for labels", wait).map_err(|fault| invalid(states.operator(), fault))?;
        // The timers that are set already are those of this wait.
        let mut states = states.with_parameters(format!("a wait of {wait_ms} ms"));
        Ok(Self { wait_ms, waiting: states.list("waiting")?, label: std::marker::PhantomData })
    }

    /// Returns the first time at which a record has waited for too long.
    fn over_at(&self, at: i64) -> EventTime {
        EventTime(at).plus_ms(self.wait_ms).plus_ms(1)
    }
}

type JoinContext<'a, K, D, L> = Context<'a, K, Labelled<D, L>, Either<Labelled<D, L>, L>>;

impl<K: Key, D: Data, L: Data> KeyedLogic for LabelLogic<K, D, L> {
    type Key = K;
    type In = Either<D, L>;
    type Out = Labelled<D, L>;
    type Side = Either<Labelled<D, L>, L>;

    fn on_record(
        &mut self,
        ctx: &mut JoinContext<'_, K, D, L>,
        record: Record<Either<D, L>>,
    ) -> Result<(), LogicError> {
        let now = ctx.event_time();
        match record.data {
            Either::First(record) if ctx.is_late() => {
                ctx.side(Either::First(Labelled { record, at: now, label: None }));
            }
            Either::First(record) => {
                self.waiting.with(ctx, |waiting| waiting.push_back(Waiting { at: now.0, record }))?;
                ctx.set_timer(self.over_at(now.0));
            }
            Either::Second(label) => {
                let waits =
                    self.waiting.read(ctx, |waiting| waiting.is_some_and(|waiting| waiting.front().is_some()))?;
                if !waits {
                    ctx.side(Either::Second(label));
                    return Ok(());
                }
                let found = self.waiting.with(ctx, |waiting| {
                    let mut found = Vec::new();
                    while let Some(one) = waiting.pop_front() {
                        found.push(one);
                    }
                    found
                })?;
                self.waiting.remove(ctx)?;
                // A label that is late is one still, if its record waits.
                let known_at = now.max(ctx.watermark());
                for Waiting { at, record } in found {
                    ctx.emit_at(known_at, Labelled { record, at: EventTime(at), label: Some(label.clone()) });
                }
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut JoinContext<'_, K, D, L>, at: EventTime) -> Result<(), LogicError> {
        if self.waiting.read(ctx, |waiting| waiting.is_none())? {
            return Ok(());
        }
        let (over, is_empty) = self.waiting.with(ctx, |waiting| {
            let mut over = Vec::new();
            while waiting.front().is_some_and(|one| self.over_at(one.at) <= at) {
                over.extend(waiting.pop_front());
            }
            (over, waiting.is_empty())
        })?;
        if is_empty {
            self.waiting.remove(ctx)?;
        }
        for Waiting { at, record } in over {
            let end = EventTime(at).plus_ms(self.wait_ms);
            ctx.emit_at(end, Labelled { record, at: EventTime(at), label: None });
        }
        Ok(())
    }

    /// A label that becomes known at the time of its record is one of it.
    fn tie_break(record: &Either<D, L>) -> u64 {
        match record {
            Either::First(_) => 0,
            Either::Second(_) => 1,
        }
    }
}
