//! Patterns: "a, then b within ten minutes, and no c between them", per key, by event time.
//!
//! ```text
//! a record that fits the first step begins a run; each run waits for its next step:
//!   fits what must not come ─▶ the run ends         fits the step ─▶ the run takes it; the last step makes a match
//!   fits neither ─▶ passed over                     `within` after its beginning ─▶ the run ends
//! ```
//! A run takes the first record that fits ("skip till next match": Agrawal, Diao, Gyllstrom, Immerman, "Efficient
//! pattern matching over event streams", 2008). Records of the same time come in no particular order.
//! Known limits: each record that begins a run is kept until the time of the run is over; all runs of a key are written
//! together.

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::stream::KeyedStream;
use tidemill_engine::{Data, EventTime, JobError, Record, Stream};
use tidemill_state::Key;

use crate::length::{invalid, length_ms};

type Fits<T> = Rc<dyn Fn(&T) -> bool>;

/// A pattern: a sequence of steps that records of a key may match.
#[derive(Clone)]
pub struct Pattern<T> {
    steps: Vec<Step<T>>,
    /// The records that must not come after the last step, until the time is over.
    never_after: Option<Fits<T>>,
    within: Duration,
}

#[derive(Clone)]
struct Step<T> {
    fits: Fits<T>,
    /// The records that must not come between the previous step and this one.
    unless: Option<Fits<T>>,
}

impl<T> Pattern<T> {
    /// Begins a pattern: a match begins with a record for which `fits` is true, and ends at most `within` after it.
    pub fn begin(within: Duration, fits: impl Fn(&T) -> bool + 'static) -> Self {
        Self { steps: vec![Step { fits: Rc::new(fits), unless: None }], never_after: None, within }
    }

    /// Adds a step: after the previous step comes a record for which `fits` is true, with any records in between.
    #[must_use]
    pub fn followed_by(mut self, fits: impl Fn(&T) -> bool + 'static) -> Self {
        self.steps.push(Step { fits: Rc::new(fits), unless: None });
        self
    }

    /// Adds a step: after the previous step comes a record for which `fits` is true, and before it no record for which
    /// `unless` is true.
    #[must_use]
    pub fn followed_by_unless(
        mut self,
        fits: impl Fn(&T) -> bool + 'static,
        unless: impl Fn(&T) -> bool + 'static,
    ) -> Self {
        self.steps.push(Step { fits: Rc::new(fits), unless: Some(Rc::new(unless)) });
        self
    }

    /// Describes the steps and the time of the pattern. Which records fit is known only to the program.
    fn parameters(&self, within_ms: i64) -> String {
        let Self { steps, never_after, within: _ } = self;
        let step = |step: &Step<T>| if step.unless.is_some() { "unless" } else { "then" };
        let mut words: Vec<&str> = steps.iter().skip(1).map(step).collect();
        words.insert(0, "begin");
        words.extend(never_after.as_ref().map(|_| "never"));
        format!("a pattern of {} within {within_ms} ms", words.join(", "))
    }

    /// Requires that, after the last step and within the time of the pattern, no record comes for which `fits` is true.
    /// Matches are emitted when that time is over.
    #[must_use]
    pub fn never_followed_by(mut self, fits: impl Fn(&T) -> bool + 'static) -> Self {
        self.never_after = Some(Rc::new(fits));
        self
    }
}

/// The outputs of pattern matching.
pub struct PatternOutput<'s, T: Data> {
    /// Matches, each as the records of its steps. A match has the event time of its last record; in a pattern with
    /// [`never_followed_by`](Pattern::never_followed_by), it has the last moment of the pattern's time.
    pub results: Stream<'s, Vec<T>>,
    /// Records that came too late to be matched.
    pub late: Stream<'s, T>,
}

/// Adds pattern matching to keyed streams.
pub trait PatternExt<'s, T: Data> {
    /// Finds all matches of `pattern` among the records of each key.
    ///
    /// # Errors
    /// When the pattern's time has fractions of a millisecond, the name is taken, or the state cannot be opened.
    fn find(self, name: &str, pattern: Pattern<T>) -> Result<PatternOutput<'s, T>, JobError>;
}

impl<'s, K: Key, T: Data> PatternExt<'s, T> for KeyedStream<'s, K, T> {
    fn find(self, name: &str, pattern: Pattern<T>) -> Result<PatternOutput<'s, T>, JobError> {
        let open = move |states: &mut States<'_, K>| PatternLogic::open(states, pattern);
        let output = self.process(name, Order::EventTime, open)?;
        Ok(PatternOutput { results: output.results, late: output.side })
    }
}

/// A match that has begun: the records that have been taken so far.
#[derive(Clone, Serialize, Deserialize)]
struct Run<T> {
    began: i64,
    taken: Vec<T>,
}

/// The logic of pattern matching. Late records go to the side output.
pub struct PatternLogic<K, T> {
    pattern: Pattern<T>,
    within_ms: i64,
    runs: ValueState<K, Vec<Run<T>>>,
}

impl<K: Key, T: Data> PatternLogic<K, T> {
    /// Opens the state.
    ///
    /// # Errors
    /// When the pattern's time has fractions of a millisecond or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, pattern: Pattern<T>) -> Result<Self, JobError> {
        let within_ms = length_ms("the time of a pattern", pattern.within);
        let within_ms = within_ms.map_err(|fault| invalid(states.operator(), fault))?;
        let runs = states.with_parameters(pattern.parameters(within_ms)).value("runs")?;
        Ok(Self { pattern, within_ms, runs })
    }

    /// Returns the last moment of a run that began at `began`.
    fn last(&self, began: i64) -> EventTime {
        EventTime(began).plus_ms(self.within_ms)
    }

    /// Advances a run by `record`, and returns whether the run stays, ends, or is complete.
    fn advance(&self, run: &mut Run<T>, record: &T) -> Fate {
        match self.pattern.steps.get(run.taken.len()) {
            Some(step) if step.unless.as_ref().is_some_and(|unless| unless(record)) => Fate::Ends,
            Some(step) if (step.fits)(record) => {
                run.taken.push(record.clone());
                let complete = run.taken.len() == self.pattern.steps.len() && self.pattern.never_after.is_none();
                if complete { Fate::Complete } else { Fate::Stays }
            }
            None if self.pattern.never_after.as_ref().is_some_and(|never| never(record)) => Fate::Ends,
            _ => Fate::Stays,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Stays,
    Ends,
    Complete,
}

impl<K: Key, T: Data> KeyedLogic for PatternLogic<K, T> {
    type Key = K;
    type In = T;
    type Out = Vec<T>;
    type Side = T;

    fn on_record(&mut self, ctx: &mut Context<'_, K, Vec<T>, T>, record: Record<T>) -> Result<(), LogicError> {
        if ctx.is_late() {
            ctx.side(record.data);
            return Ok(());
        }
        let begins = self.pattern.steps.first().is_some_and(|first| (first.fits)(&record.data));
        if !begins && self.runs.read(ctx, |runs| runs.is_none())? {
            return Ok(());
        }
        let time = record.event_time.0;
        let (matches, kept) = self.runs.update(ctx, Vec::new, |runs| {
            let mut matches = Vec::new();
            runs.retain_mut(|run| {
                // The time of the run is over, but its timer has not fired yet: the timer ends it.
                if self.last(run.began).0 < time {
                    return true;
                }
                let fate = self.advance(run, &record.data);
                if fate == Fate::Complete {
                    matches.push(std::mem::take(&mut run.taken));
                }
                fate == Fate::Stays
            });
            if begins {
                let run = Run { began: time, taken: vec![record.data.clone()] };
                match self.pattern.steps.len() == 1 && self.pattern.never_after.is_none() {
                    true => matches.push(run.taken),
                    false => runs.push(run),
                }
            }
            (matches, runs.len())
        })?;
        if kept == 0 {
            self.runs.remove(ctx)?;
        } else if begins {
            ctx.set_timer(self.last(time).plus_ms(1));
        }
        matches.into_iter().for_each(|found| ctx.emit(found));
        Ok(())
    }

    /// Ends the runs whose time is over. Those that have all steps are matches: what must not come has not come.
    fn on_timer(&mut self, ctx: &mut Context<'_, K, Vec<T>, T>, at: EventTime) -> Result<(), LogicError> {
        if self.runs.read(ctx, |runs| runs.is_none())? {
            return Ok(());
        }
        let (matches, empty) = self.runs.update(ctx, Vec::new, |runs| {
            let mut matches = Vec::new();
            runs.retain_mut(|run| {
                let last = self.last(run.began);
                let over = last.plus_ms(1) <= at;
                if over && run.taken.len() == self.pattern.steps.len() {
                    matches.push((last, std::mem::take(&mut run.taken)));
                }
                !over
            });
            (matches, runs.is_empty())
        })?;
        if empty {
            self.runs.remove(ctx)?;
        }
        matches.into_iter().for_each(|(last, found)| ctx.emit_at(last, found));
        Ok(())
    }
}
