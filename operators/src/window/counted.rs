//! Count windows: windows of a fixed number of records. A window starts at the earliest time of its records, and ends
//! just after the latest.

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{LogicError, ParameterStates, ValueState};
use tidemill_engine::{Data, EventTime, JobError, Record};
use tidemill_state::Key;

use super::aggregate::Aggregate;
use super::result::{WindowContext, emit};
use super::span::Window;
use super::spec::{Firing, TimeDomain};

#[derive(Clone, Serialize, Deserialize)]
struct Counted<A> {
    records: u64,
    first: EventTime,
    last: EventTime,
    accumulator: A,
}

#[derive(Clone, Serialize, Deserialize)]
struct Open<A> {
    /// Number of records until the next window begins.
    wait: u64,
    windows: Vec<Counted<A>>,
}

pub(super) struct CountedWindows<K: Key, A: Aggregate> {
    size: u64,
    every: u64,
    clock: TimeDomain,
    aggregate: A,
    open: ValueState<K, Open<A::Accumulator>>,
}

impl<K: Key + Data, A: Aggregate> CountedWindows<K, A>
where
    A::In: Data,
{
    pub(super) fn open(
        states: &mut ParameterStates<'_, K>,
        (size, every): (u64, u64),
        clock: TimeDomain,
        aggregate: A,
    ) -> Result<Self, JobError> {
        Ok(Self { size, every, clock, aggregate, open: states.value("counted")? })
    }

    pub(super) fn on_record(&self, ctx: &mut WindowContext<'_, K, A>, record: Record<A::In>) -> Result<(), LogicError> {
        let time = self.clock.of_record(ctx);
        let (full, is_over) = self.open.update(
            ctx,
            || Open { wait: 0, windows: Vec::new() },
            |open| {
                if open.wait == 0 {
                    open.wait = self.every;
                    let accumulator = self.aggregate.empty();
                    open.windows.push(Counted { records: 0, first: time, last: time, accumulator });
                }
                open.wait -= 1;
                for window in &mut open.windows {
                    window.records += 1;
                    (window.first, window.last) = (window.first.min(time), window.last.max(time));
                    self.aggregate.add(&mut window.accumulator, &record.data);
                }
                // The oldest window has the most records, so it is the first to be full.
                let full = open.windows.first().is_some_and(|window| window.records == self.size);
                let full = full.then(|| open.windows.remove(0));
                (full, open.windows.is_empty() && open.wait == 0)
            },
        )?;
        if is_over {
            self.open.remove(ctx)?;
        }
        if let Some(Counted { first, last, accumulator, .. }) = full {
            let window = Window { start: first, end: last.plus_ms(1) };
            emit(ctx, self.clock, window, Firing::OnTime, self.aggregate.finish(&accumulator));
        }
        Ok(())
    }
}
