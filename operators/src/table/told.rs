//! What an output of a view has told, so that it tells each change once, also across restores.
//!
//! ```text
//! changes of the view ─▶ gathered per event time ─▶ watermark passes it ─▶ net ─▶ rows now ─▶ what differs from told
//! ```
//! What is gathered is not stored: after a restore differential computes it again. Then a key's rows add up from nothing
//! (another `run`), and what was told before is only compared with, once the watermark is where it was told: what differs is
//! told, which is nothing unless the program has changed. Keys that the new run never mentions are looked at by a timer.

use std::collections::HashMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, States, ValueState};
use tidemill_engine::{EventTime, JobError, Record};
use tidemill_state::StateError;

use super::{Row, Upsert};

/// A row that came or went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change<K, V> {
    /// Its key.
    pub key: K,
    /// The row.
    pub row: V,
    /// How many more of it there are; less than zero: it went.
    pub change: i64,
}

/// Rows of a key, each with how often it is there; sorted.
type Multiset<V> = Vec<(V, isize)>;

/// How an output tells what has changed of a key.
pub trait RowsTold<K, V>: 'static {
    /// What is told.
    type Out: tidemill_engine::Data;

    /// Tells that the rows of `key` are `now`, and were told to be `told`.
    ///
    /// # Errors
    /// Why that cannot be told. What was told stays what it was.
    fn tell(key: &K, told: &Multiset<V>, now: &Multiset<V>, out: impl FnMut(Self::Out)) -> Result<(), String>;
}

/// Tells the row of a key: there is one at most.
pub struct AsUpserts;

impl<K: Row, V: Row> RowsTold<K, V> for AsUpserts {
    type Out = Upsert<K, V>;

    fn tell(key: &K, _: &Multiset<V>, now: &Multiset<V>, mut out: impl FnMut(Self::Out)) -> Result<(), String> {
        match &now[..] {
            [] => out(Upsert::delete(key.clone())),
            [(row, 1)] => out(Upsert::put(key.clone(), row.clone())),
            rows => return Err(format!("the view has {} rows of the key, upserts tell one: {rows:?}", rows.len())),
        }
        Ok(())
    }
}

/// Tells what comes and goes of one row.
pub struct AsChanges;

impl<K: Row, V: Row> RowsTold<(K, V), ()> for AsChanges {
    type Out = Change<K, V>;

    fn tell(
        (key, row): &(K, V),
        told: &Multiset<()>,
        now: &Multiset<()>,
        mut out: impl FnMut(Self::Out),
    ) -> Result<(), String> {
        let count = |rows: &Multiset<()>| rows.iter().map(|(_, count)| *count as i64).sum::<i64>();
        out(Change { key: key.clone(), row: row.clone(), change: count(now) - count(told) });
        Ok(())
    }
}

/// The logic of an output that tells upserts.
pub type UpsertsLogic<K, V> = ToldLogic<K, V, AsUpserts>;
/// The logic of an output that tells changes. Its key is the whole row, so that a key of many rows costs nothing.
pub type ChangesLogic<K, V> = ToldLogic<(K, V), (), AsChanges>;

/// What is known of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known<V> {
    /// The first epoch of the run that added the rows up.
    run: u64,
    rows: Multiset<V>,
    /// What was told, where that is not known to be the same.
    told: Option<Multiset<V>>,
}

impl<V: Row> Known<V> {
    /// Adds the changes of an event time; in a new run, to nothing.
    fn add(&mut self, run: u64, changes: Multiset<V>) {
        if self.run != run {
            self.run = run;
            let rows = std::mem::take(&mut self.rows);
            self.told.get_or_insert(rows);
        }
        if !changes.is_empty() {
            let rows = &self.rows;
            self.told.get_or_insert_with(|| rows.clone());
            self.rows.extend(changes);
            differential_dataflow::consolidation::consolidate(&mut self.rows);
        }
    }
}

/// The logic of an output of a view.
pub struct ToldLogic<K: Row, V: Row, T> {
    known: ValueState<K, Known<V>>,
    run: u64,
    /// Changes whose event time the watermark has not passed. Not stored: they come again.
    waiting: HashMap<K, Vec<(EventTime, V, isize)>>,
    told: PhantomData<T>,
}

type Ctx<'a, K, V, T> = Context<'a, K, <T as RowsTold<K, V>>::Out, ()>;

impl<K: Row, V: Row, T: RowsTold<K, V>> ToldLogic<K, V, T> {
    /// Opens the state of the output. `run` is the first epoch of this run.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, run: u64) -> Result<Self, JobError> {
        // Any view may take the place of another: what differs is told.
        let known = states.with_parameters("what was told of a view").value("told")?;
        Ok(Self { known, run, waiting: HashMap::new(), told: PhantomData })
    }

    /// Takes what waits of the key and holds from before `at` on, by event time.
    fn due(&mut self, key: &K, at: EventTime) -> Vec<(EventTime, V, isize)> {
        let Some(mut waiting) = self.waiting.remove(key) else { return Vec::new() };
        let mut due: Vec<_> = waiting.extract_if(.., |(time, ..)| *time < at || at == EventTime::MAX).collect();
        if !waiting.is_empty() {
            self.waiting.insert(key.clone(), waiting);
        }
        due.sort_by_key(|(time, ..)| *time);
        due
    }

    /// Adds the changes of one event time, and tells what differs then.
    fn settle(&self, ctx: &mut Ctx<'_, K, V, T>, at: EventTime, changes: Multiset<V>) -> Result<(), LogicError> {
        let known = self.known.get(ctx)?;
        if known.is_none() && changes.is_empty() {
            return Ok(());
        }
        let mut known = known.unwrap_or_else(|| Known { run: self.run, rows: Vec::new(), told: None });
        known.add(self.run, changes);
        let mut outcome = Ok(());
        if at < ctx.reached() {
            // The run before has told it, and what came after: that is computed again, and compared then.
            ctx.set_timer(ctx.reached().plus_ms(1));
        } else if let Some(told) = known.told.take()
            && told != known.rows
        {
            let key = ctx.key().clone();
            if let Err(reason) = T::tell(&key, &told, &known.rows, |out| ctx.emit_at(at, out)) {
                outcome = Err(LogicError::Record(reason));
                known.told = Some(told);
            }
        }
        if known.rows.is_empty() && known.told.as_ref().is_none_or(Vec::is_empty) {
            self.known.remove(ctx)?;
        } else {
            self.known.put(ctx, known)?;
        }
        outcome
    }
}

impl<K: Row, V: Row, T: RowsTold<K, V>> KeyedLogic for ToldLogic<K, V, T> {
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

    /// By then differential has computed the key again, or never will.
    fn on_restored(&mut self, ctx: &mut Ctx<'_, K, V, T>) -> Result<(), LogicError> {
        ctx.set_timer(ctx.reached().max(ctx.watermark()).plus_ms(1));
        Ok(())
    }
}
