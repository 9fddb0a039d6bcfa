//! Base tables, which are made from changelogs: the row of each key, and its changes, at the times at which they
//! happen.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use tidemill_engine::time::days;
use tidemill_engine::{Data, EventTime, JobError, Record, Stream};
use tidemill_state::StateError;

use super::readers::{Lineage, Readers, next_look};
use super::{Row, Table, Upsert};
use crate::length::{invalid, length_ms};

type Convert<D, K, V> = Arc<dyn Fn(D) -> Upsert<K, V>>;
type Sequence<D> = Arc<dyn Fn(&D) -> u64>;

/// The way in which records of a stream change a table.
pub struct Changelog<D, K, V> {
    upsert: Convert<D, K, V>,
    sequence: Sequence<D>,
    deletions: Duration,
}

impl<D, K, V> Changelog<D, K, V> {
    /// The default is a day, as for Kafka's `delete.retention.ms`.
    const DELETIONS: Duration = days(1);

    /// Returns a changelog in which each record is the change of one row that `upsert` makes of it.
    pub fn new(upsert: impl Fn(D) -> Upsert<K, V> + 'static) -> Self {
        Self { upsert: Arc::new(upsert), sequence: Arc::new(|_| 0), deletions: Self::DELETIONS }
    }

    /// Sets for how long, in event time, a key whose row was deleted is remembered. Default: a day. An older change
    /// that comes while the key is remembered is superseded; one that comes afterwards is valid from the watermark on,
    /// like the first change of a new key.
    #[must_use]
    pub fn remember_deletions(mut self, length: Duration) -> Self {
        self.deletions = length;
        self
    }

    /// Sets the order of changes of a key that have the same event time: the change for which `sequence` returns the
    /// greater number is later. Without it, or if the numbers are the same too, the greater row wins, and any row wins
    /// over a deletion.
    #[must_use]
    pub fn in_sequence(mut self, sequence: impl Fn(&D) -> u64 + 'static) -> Self {
        self.sequence = Arc::new(sequence);
        self
    }
}

/// The outputs of a base table.
pub struct TableOutput<'s, K: Row, V: Row> {
    /// The table with the rows of all keys.
    pub results: Table<'s, K, V>,
    /// Changes that came when a later change of their key was valid already.
    pub superseded: Stream<'s, Upsert<K, V>>,
}

/// Adds tables to streams.
pub trait TableExt<'s, D: Data> {
    /// Makes a table from the stream, which is a changelog: each record sets the row of its key from its event time on.
    ///
    /// * Time, order: changes of a key are applied in the order of their event times, once the watermark has passed
    ///   them; those of the same time in the order of [`Changelog::in_sequence`]. A late change is valid from the
    ///   watermark on, unless a change with a later event time is valid already: then it goes to `superseded`. So does
    ///   the earlier of two changes of the same time if it comes second.
    /// * Guarantee: rows are keyed state. After a restore the table and all its views are as they were.
    ///
    /// # Errors
    /// When the name is taken or the state cannot be opened.
    fn table<K: Row, V: Row>(
        self,
        name: &str,
        changelog: Changelog<D, K, V>,
    ) -> Result<TableOutput<'s, K, V>, JobError>;
}

impl<'s, D: Data> TableExt<'s, D> for Stream<'s, D> {
    fn table<K: Row, V: Row>(
        self,
        name: &str,
        changelog: Changelog<D, K, V>,
    ) -> Result<TableOutput<'s, K, V>, JobError> {
        let (flow, readers) = (self.flow().clone(), Readers::default());
        let Changelog { upsert, sequence, deletions } = changelog;
        let versioned = self.map(move |record| {
            let sequence = sequence(&record);
            let Upsert { key, row } = upsert(record);
            Versioned { key, sequence, row }
        });
        let read = readers.clone();
        let output = versioned.key_by(|versioned| versioned.key.clone()).process(
            name,
            Order::EventTime,
            |states: &mut States<'_, K>| ChangelogLogic::open(states, read, deletions),
        )?;
        let table = Table::new(flow, output.results.into_rows(), Lineage::of(readers));
        Ok(TableOutput { results: table, superseded: output.side })
    }
}

/// A change of a row, with its position among the changes of the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<K, V> {
    /// The key of the row.
    pub key: K,
    /// Position among the changes of the same time: the greater number is later.
    pub sequence: u64,
    /// The row; `None` if it is deleted.
    pub row: Option<V>,
}

/// A row as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version<V> {
    /// The time from which the row is valid in the table.
    from: EventTime,
    /// The event time of its change. For a late change it is before `from`.
    time: EventTime,
    sequence: u64,
    row: Option<V>,
}

/// The logic of a base table. Results are rows that are added (+1) or removed (−1), at the time of the change.
pub struct ChangelogLogic<K: Row, V: Row> {
    /// The versions of a row, sorted by `from`: the last one is valid.
    versions: ValueState<K, Vec<Version<V>>>,
    readers: Readers,
    deletions_ms: i64,
}

type Ctx<'a, K, V> = Context<'a, K, ((K, V), isize), Upsert<K, V>>;

impl<K: Row, V: Row> ChangelogLogic<K, V> {
    /// Opens the state of the table. Deletions are remembered for `deletions`, in event time.
    ///
    /// # Errors
    /// When that length has fractions of a millisecond or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, readers: Readers, deletions: Duration) -> Result<Self, JobError> {
        let deletions_ms = length_ms("the time that a table remembers deletions for", deletions);
        let deletions_ms = deletions_ms.map_err(|fault| invalid(states.operator(), fault))?;
        let parameters = format!("a table that remembers deletions for {deletions_ms} ms");
        Ok(Self { versions: states.with_parameters(parameters).value("versions")?, readers, deletions_ms })
    }

    fn emit(ctx: &mut Ctx<'_, K, V>, at: EventTime, row: Option<V>, change: isize) {
        if let Some(row) = row {
            let key = ctx.key().clone();
            ctx.emit_at(at, ((key, row), change));
        }
    }
}

/// Removes versions that were replaced by the time `horizon`.
fn prune<V>(versions: &mut Vec<Version<V>>, horizon: EventTime) {
    let begun = versions.partition_point(|version| version.from <= horizon);
    versions.drain(..begun.saturating_sub(1));
}

impl<K: Row, V: Row> KeyedLogic for ChangelogLogic<K, V> {
    type Key = K;
    type In = Versioned<K, V>;
    type Out = ((K, V), isize);
    type Side = Upsert<K, V>;

    fn on_record(&mut self, ctx: &mut Ctx<'_, K, V>, record: Record<Versioned<K, V>>) -> Result<(), LogicError> {
        let Record { event_time: time, data: Versioned { key, sequence, row }, .. } = record;
        let last = self.versions.read(ctx, |versions| versions.and_then(|versions| versions.last().cloned()))?;
        let (mut from, mut before, known) = (time.max(ctx.watermark()), None, last.is_some());
        if let Some(last) = last {
            if (time, sequence, &row) < (last.time, last.sequence, &last.row) {
                ctx.side(Upsert { key, row });
                return Ok(());
            }
            // A late change may be valid from a watermark that this worker has not reached again since a restore.
            from = from.max(last.from);
            before = last.row;
        }
        if known && before == row {
            // The row stays the same. Its new time decides which changes are superseded from now on.
            self.versions.update(ctx, Vec::new, |versions| {
                if let Some(last) = versions.last_mut() {
                    (last.time, last.sequence) = (time, sequence);
                }
            })?;
            return Ok(());
        }
        Self::emit(ctx, from, before, -1);
        Self::emit(ctx, from, row.clone(), 1);
        let (horizon, is_gone) = (self.readers.horizon(ctx.watermark()), row.is_none());
        self.versions.update(ctx, Vec::new, |versions| {
            versions.retain(|version| version.from < from);
            versions.push(Version { from, time, sequence, row });
            prune(versions, horizon);
        })?;
        if is_gone {
            // The key may be removed once no reader can be restored to a time before the deletion.
            ctx.set_timer(from.plus_ms(self.deletions_ms).plus_ms(1));
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_, K, V>, at: EventTime) -> Result<(), LogicError> {
        let gone_from = self.versions.read(ctx, |versions| {
            let last = versions.and_then(|versions| versions.last())?;
            last.row.is_none().then_some(last.from)
        })?;
        let Some(gone_from) = gone_from else { return Ok(()) };
        let forgotten_at = gone_from.plus_ms(self.deletions_ms);
        if self.readers.horizon(ctx.watermark()) >= forgotten_at {
            self.versions.remove(ctx)?;
        } else if let Some(next) = next_look(forgotten_at, at) {
            ctx.set_timer(next);
        }
        Ok(())
    }

    fn restored_keys(&self) -> Result<Vec<K>, StateError> {
        self.versions.stored_keys()
    }

    /// Emits the rows to the views again, from the time at which the views continue.
    fn on_restored(&mut self, ctx: &mut Ctx<'_, K, V>) -> Result<(), LogicError> {
        let floor = self.readers.floor(ctx.watermark());
        let mut versions = self.versions.get(ctx)?.unwrap_or_default();
        prune(&mut versions, floor);
        let mut before = None;
        for Version { from, row, .. } in versions {
            let at = from.max(floor);
            Self::emit(ctx, at, before, -1);
            Self::emit(ctx, at, row.clone(), 1);
            before = row;
        }
        Ok(())
    }

    fn tie_break(versioned: &Versioned<K, V>) -> u64 {
        versioned.sequence
    }
}
