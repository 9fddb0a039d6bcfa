//! The rows that an output of a view has emitted. They are stored so that each change is emitted once, also across
//! restores.
//!
//! ```text
//! changes of the view ─▶ gathered per event time ─▶ watermark passes it ─▶ net ─▶ rows now ─▶ difference from emitted rows
//! ```
//! The gathered changes are not stored: after a restore, differential computes them again. The rows of a key are then
//! added up from nothing (in another `run`). They are only compared with the rows emitted before, once the watermark
//! is where these were emitted. The difference is emitted; there is none unless the program has changed. A timer
//! visits the keys for which the new run has no changes.

use std::collections::HashMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, States, ValueState};
use tidemill_engine::{EventTime, JobError, Record};
use tidemill_state::StateError;

use super::{Row, Upsert};

/// A change of a view: a row that was added or removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change<K, V> {
    /// The key of the row.
    pub key: K,
    /// The row.
    pub row: V,
    /// Number of times that the row was added; below zero if it was removed.
    pub change: i64,
}

/// The rows of a key, sorted, each with its number of occurrences.
type Multiset<V> = Vec<(V, isize)>;

/// The way in which an output emits the changes of a key.
pub trait RowsEmitted<K, V>: 'static {
    /// The type of the emitted changes.
    type Out: tidemill_engine::Data;

    /// Emits to `out` the change of the rows of `key` from `emitted`, as they were emitted before, to `now`.
    ///
    /// # Errors
    /// When the change cannot be emitted, with the reason. What was emitted before stays valid.
    fn emit(key: &K, emitted: &Multiset<V>, now: &Multiset<V>, out: impl FnMut(Self::Out)) -> Result<(), String>;
}

/// Emission of upserts: the row of each key, which has at most one row.
pub struct AsUpserts;

impl<K: Row, V: Row> RowsEmitted<K, V> for AsUpserts {
    type Out = Upsert<K, V>;

    fn emit(key: &K, _: &Multiset<V>, now: &Multiset<V>, mut out: impl FnMut(Self::Out)) -> Result<(), String> {
        match &now[..] {
            [] => out(Upsert::delete(key.clone())),
            [(row, 1)] => out(Upsert::put(key.clone(), row.clone())),
            rows => {
                return Err(format!(
                    "the view has {} rows of the key, but upserts need exactly one: {rows:?}",
                    rows.len()
                ));
            }
        }
        Ok(())
    }
}

/// Emission of changes: how many times each row is added or removed.
pub struct AsChanges;

impl<K: Row, V: Row> RowsEmitted<(K, V), ()> for AsChanges {
    type Out = Change<K, V>;

    fn emit(
        (key, row): &(K, V),
        emitted: &Multiset<()>,
        now: &Multiset<()>,
        mut out: impl FnMut(Self::Out),
    ) -> Result<(), String> {
        let count = |rows: &Multiset<()>| rows.iter().map(|(_, count)| *count as i64).sum::<i64>();
        out(Change { key: key.clone(), row: row.clone(), change: count(now) - count(emitted) });
        Ok(())
    }
}

/// The logic of an output that emits upserts.
pub type UpsertsLogic<K, V> = EmittedLogic<K, V, AsUpserts>;
/// The logic of an output that emits changes. Its key is the key with the row, so that a key with many rows costs no
/// more.
pub type ChangesLogic<K, V> = EmittedLogic<(K, V), (), AsChanges>;

/// The state of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known<V> {
    /// The first epoch of the run that added up the rows.
    run: u64,
    rows: Multiset<V>,
    /// The rows that were emitted; `None` if they are known to be the same as `rows`.
    emitted: Option<Multiset<V>>,
}

impl<V: Row> Known<V> {
    /// Adds the changes of an event time. In a new run, rows are added up from nothing.
    fn add(&mut self, run: u64, changes: Multiset<V>) {
        if self.run != run {
            self.run = run;
            let rows = std::mem::take(&mut self.rows);
            self.emitted.get_or_insert(rows);
        }
        if !changes.is_empty() {
            let rows = &self.rows;
            self.emitted.get_or_insert_with(|| rows.clone());
            self.rows.extend(changes);
            differential_dataflow::consolidation::consolidate(&mut self.rows);
        }
    }
}

/// The logic of an output of a view.
pub struct EmittedLogic<K: Row, V: Row, T> {
    known: ValueState<K, Known<V>>,
    run: u64,
    /// Changes whose event time the watermark has not passed. They are not stored: they come again after a restore.
    waiting: HashMap<K, Vec<(EventTime, V, isize)>>,
    emitted: PhantomData<T>,
}

type Ctx<'a, K, V, T> = Context<'a, K, <T as RowsEmitted<K, V>>::Out, ()>;

impl<K: Row, V: Row, T: RowsEmitted<K, V>> EmittedLogic<K, V, T> {
    /// Opens the state of the output. `run` is the first epoch of this run.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, run: u64) -> Result<Self, JobError> {
        // Any view may replace another one: the difference is emitted.
        let known = states.with_parameters("what was emitted of a view").value("emitted")?;
        Ok(Self { known, run, waiting: HashMap::new(), emitted: PhantomData })
    }

    /// Removes and returns the waiting changes of the key with event times before `at`, sorted by event time.
    fn due(&mut self, key: &K, at: EventTime) -> Vec<(EventTime, V, isize)> {
        let Some(mut waiting) = self.waiting.remove(key) else { return Vec::new() };
        let mut due: Vec<_> = waiting.extract_if(.., |(time, ..)| *time < at || at == EventTime::MAX).collect();
        if !waiting.is_empty() {
            self.waiting.insert(key.clone(), waiting);
        }
        due.sort_by_key(|(time, ..)| *time);
        due
    }

    /// Adds the changes of one event time, and emits what differs then.
    fn settle(&self, ctx: &mut Ctx<'_, K, V, T>, at: EventTime, changes: Multiset<V>) -> Result<(), LogicError> {
        let known = self.known.get(ctx)?;
        if known.is_none() && changes.is_empty() {
            return Ok(());
        }
        let mut known = known.unwrap_or_else(|| Known { run: self.run, rows: Vec::new(), emitted: None });
        known.add(self.run, changes);
        let mut outcome = Ok(());
        if at < ctx.reached() {
            // The previous run has emitted this change and later ones. They are computed again, and compared once the
            // watermark is past where that run was.
            ctx.set_timer(ctx.reached().plus_ms(1));
        } else if let Some(emitted) = known.emitted.take()
            && emitted != known.rows
        {
            let key = ctx.key().clone();
            if let Err(reason) = T::emit(&key, &emitted, &known.rows, |out| ctx.emit_at(at, out)) {
                outcome = Err(LogicError::Record(reason));
                known.emitted = Some(emitted);
            }
        }
        if known.rows.is_empty() && known.emitted.as_ref().is_none_or(Vec::is_empty) {
            self.known.remove(ctx)?;
        } else {
            self.known.put(ctx, known)?;
        }
        outcome
    }
}

impl<K: Row, V: Row, T: RowsEmitted<K, V>> KeyedLogic for EmittedLogic<K, V, T> {
    type Key = K;
    type In = ((K, V), isize);
    type Out = T::Out;
    type Side = ();
    const COMES_AGAIN: bool = true;

    fn on_record(&mut self, ctx: &mut Ctx<'_, K, V, T>, record: Record<Self::In>) -> Result<(), LogicError> {
        let Record { event_time, data: ((key, row), change), .. } = record;
        let at = event_time.max(ctx.watermark());
        self.waiting.entry(key).or_default().push((at, row, change));
        ctx.set_timer(at.plus_ms(1));
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_, K, V, T>, at: EventTime) -> Result<(), LogicError> {
        let mut due = self.due(ctx.key(), at).into_iter().peekable();
        if due.peek().is_none() {
            return self.settle(ctx, at.plus_ms(-1), Vec::new());
        }
        let mut outcome = Ok(());
        while let Some((time, row, change)) = due.next() {
            let mut changes = vec![(row, change)];
            while let Some((_, row, change)) = due.next_if(|(same, ..)| *same == time) {
                changes.push((row, change));
            }
            differential_dataflow::consolidation::consolidate(&mut changes);
            match self.settle(ctx, time, changes) {
                Err(LogicError::Record(reason)) => outcome = Err(LogicError::Record(reason)),
                other => other?,
            }
        }
        outcome
    }

    fn restored_keys(&self) -> Result<Vec<K>, StateError> {
        self.known.stored_keys()
    }

    /// Sets a timer for when differential has computed the key again, if it computes it at all.
    fn on_restored(&mut self, ctx: &mut Ctx<'_, K, V, T>) -> Result<(), LogicError> {
        ctx.set_timer(ctx.reached().max(ctx.watermark()).plus_ms(1));
        Ok(())
    }
}
