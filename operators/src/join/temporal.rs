//! Temporal join: each record is joined with the version of its row that was valid at the record's time.
//!
//! Records and versions come in event-time order, versions first, so the latest version is the valid one. Older
//! versions are kept for as long as late records may need them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tidemill_engine::shell::{Context, KeyedLogic, LogicError, MapState, States};
use tidemill_engine::stream::Either;
use tidemill_engine::{Data, EventTime, JobError, Record};
use tidemill_state::Key;

use crate::length::{invalid, length_ms};

/// Says whether a version deletes its row.
type Deletes<V> = Rc<dyn Fn(&V) -> bool>;

/// The settings of a versioned table.
#[derive(Clone)]
pub struct TemporalTable<V> {
    history: Duration,
    deletes: Option<Deletes<V>>,
}

impl<V> Default for TemporalTable<V> {
    fn default() -> Self {
        Self { history: Duration::ZERO, deletes: None }
    }
}

impl<V> TemporalTable<V> {
    /// Returns a table whose rows are replaced but never deleted, and which keeps no history for late records and late
    /// versions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets for how long versions are kept behind the watermark, for records that come late. Records and versions that
    /// are even later go to the `late` output. Default: zero.
    #[must_use]
    pub fn history(mut self, history: Duration) -> Self {
        self.history = history;
        self
    }

    /// Describes the settings of the table.
    fn parameters(&self, history_ms: i64) -> String {
        let Self { history: _, deletes } = self;
        let deletions = if deletes.is_some() { "with" } else { "without" };
        format!("a table {deletions} deletions, and a history of {history_ms} ms")
    }

    /// Sets which versions delete the row: those for which `deletes` is true. Default: none.
    #[must_use]
    pub fn deleted_by(mut self, deletes: impl Fn(&V) -> bool + 'static) -> Self {
        self.deletes = Some(Rc::new(deletes));
        self
    }
}

/// The logic of a temporal join. Records and versions that come too late go to the side output. Of two versions of the
/// same time, either may win.
pub struct TemporalJoinLogic<K: Key, A, V: Data> {
    table: TemporalTable<V>,
    history_ms: i64,
    /// Versions by the time from which they are valid; `None` means that the row is deleted.
    versions: MapState<K, i64, Option<V>>,
    record: std::marker::PhantomData<fn(A)>,
}

impl<K: Key, A: Data, V: Data> TemporalJoinLogic<K, A, V> {
    /// Opens the state of the join.
    ///
    /// # Errors
    /// When the history has fractions of a millisecond or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, table: TemporalTable<V>) -> Result<Self, JobError> {
        let history_ms = length_ms("the history of a table", table.history);
        let history_ms = history_ms.map_err(|fault| invalid(states.operator(), fault))?;
        let versions = states.with_parameters(table.parameters(history_ms)).map("versions")?;
        Ok(Self { table, history_ms, versions, record: std::marker::PhantomData })
    }

    /// Adds a version, and removes those that no record can need any more.
    fn update(
        &self,
        ctx: &Context<'_, K, (A, Option<V>), Either<A, V>>,
        version: V,
        horizon: EventTime,
    ) -> Result<(), LogicError> {
        let gone = self.table.deletes.as_ref().is_some_and(|deletes| deletes(&version));
        let empty = self.versions.update(ctx, BTreeMap::new, |versions| {
            versions.insert(ctx.event_time().0, (!gone).then_some(version));
            let holds = versions.range(..=horizon.0).next_back().map(|(time, _)| *time);
            if let Some(holds) = holds {
                *versions = versions.split_off(&holds);
            }
            while versions.first_key_value().is_some_and(|(time, row)| row.is_none() && *time <= horizon.0) {
                versions.pop_first();
            }
            versions.is_empty()
        })?;
        if empty {
            self.versions.remove(ctx)?;
        }
        Ok(())
    }
}

impl<K: Key, A: Data, V: Data> KeyedLogic for TemporalJoinLogic<K, A, V> {
    type Key = K;
    type In = Either<A, V>;
    type Out = (A, Option<V>);
    type Side = Either<A, V>;

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, K, (A, Option<V>), Either<A, V>>,
        record: Record<Either<A, V>>,
    ) -> Result<(), LogicError> {
        // Records before this time are too late, so nothing will be joined there any more.
        let horizon = ctx.watermark().plus_ms(-self.history_ms);
        if record.event_time < horizon {
            ctx.side(record.data);
            return Ok(());
        }
        match record.data {
            Either::First(data) => {
                let time = record.event_time.0;
                let row = self.versions.read(ctx, |versions| {
                    versions.and_then(|versions| versions.range(..=time).next_back()?.1.clone())
                })?;
                ctx.emit((data, row));
                Ok(())
            }
            Either::Second(version) => self.update(ctx, version, horizon),
        }
    }

    /// Puts versions before the records of the same time: a version is valid for these.
    fn tie_break(record: &Either<A, V>) -> u64 {
        u64::from(matches!(record, Either::First(_)))
    }
}
