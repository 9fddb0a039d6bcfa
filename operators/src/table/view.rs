//! Views: tables that are computed from other tables, and follow their changes.

use differential_dataflow::operators::iterate::Iterate;
use tidemill_engine::shell::Order;
use tidemill_engine::time::Moment;
use tidemill_engine::updates::{Progress, Rows};
use tidemill_engine::{EventTime, Flow, JobError, Stream};
use timely::dataflow::scope::Iterative;
use timely::order::Product;

use super::emitted::{AsChanges, AsUpserts, EmittedLogic};
use super::readers::{Lineage, Reader};
use super::relation::Relation;
use super::{Change, Row, Upsert};

/// A table: rows under keys, as they are at each event time. It is cheap to clone: clones share what was computed so
/// far.
///
/// A key may have many rows, and the same row more than once. Functions passed to a table are called any number of
/// times, on any worker, in any order: they must depend on nothing but their arguments.
#[derive(Clone)]
pub struct Table<'s, K: Row, V: Row> {
    flow: Flow<'s>,
    rows: Relation<'s, Moment, K, V>,
    lineage: Lineage,
}

/// The rows inside the loop of [`Table::iterate`].
pub type LoopRows<'i, K, V> = Relation<'i, Product<Moment, u64>, K, V>;

impl<'s, K: Row, V: Row> Table<'s, K, V> {
    pub(super) fn new(flow: Flow<'s>, rows: Rows<'s, (K, V)>, lineage: Lineage) -> Self {
        Self { flow, rows: Relation::new(rows), lineage }
    }

    /// Keeps the rows for which `f` is true.
    #[must_use]
    pub fn filter(self, f: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.over(|rows| rows.filter(f))
    }

    /// Changes each key and row by `f`. If several rows become the same, the table has that row as many times.
    #[must_use]
    pub fn map<K2: Row, V2: Row>(self, f: impl Fn(K, V) -> (K2, V2) + 'static) -> Table<'s, K2, V2> {
        self.over(|rows| rows.map(f))
    }

    /// Makes any number of rows from each row by `f`.
    #[must_use]
    pub fn flat_map<K2: Row, V2: Row, I: IntoIterator<Item = (K2, V2)> + 'static>(
        self,
        f: impl Fn(K, V) -> I + 'static,
    ) -> Table<'s, K2, V2> {
        self.over(|rows| rows.flat_map(f))
    }

    /// Returns the rows of both tables. A row that is in both is there twice.
    #[must_use]
    pub fn concat(self, other: Self) -> Self {
        self.over_both(other, Relation::concat)
    }

    /// Pairs each row of this table with each row of the other one that has the same key.
    #[must_use]
    pub fn join<V2: Row>(self, other: Table<'s, K, V2>) -> Table<'s, K, (V, V2)> {
        self.over_both(other, Relation::join)
    }

    /// Keeps the rows whose key is in the other table.
    #[must_use]
    pub fn semijoin<V2: Row>(self, other: Table<'s, K, V2>) -> Self {
        self.over_both(other, Relation::semijoin)
    }

    /// Keeps the rows whose key is not in the other table.
    #[must_use]
    pub fn antijoin<V2: Row>(self, other: Table<'s, K, V2>) -> Self {
        self.over_both(other, Relation::antijoin)
    }

    /// Makes one row, or none, from all rows of a key by `f`. The rows are sorted, each comes with its number of
    /// occurrences, and there is at least one. Cost: a change of a key reads all of its rows.
    #[must_use]
    pub fn reduce<V2: Row>(self, f: impl Fn(&K, &[(&V, isize)]) -> Option<V2> + 'static) -> Table<'s, K, V2> {
        self.over(|rows| rows.reduce(f))
    }

    /// Counts the rows of each key. A key without rows has no count.
    #[must_use]
    pub fn count(self) -> Table<'s, K, i64> {
        self.over(Relation::count)
    }

    /// Keeps each different row once.
    #[must_use]
    pub fn distinct(self) -> Self {
        self.over(Relation::distinct)
    }

    /// Keeps the `n` rows of each key with the greatest rank, as one row in which the best comes first. Of rows with
    /// the same rank, the lesser row comes first. For the best rows of the whole table, give all rows the key `()`.
    #[must_use]
    pub fn top_n<R: Ord>(self, n: usize, rank: impl Fn(&V) -> R + 'static) -> Table<'s, K, Vec<V>> {
        self.over(|rows| rows.top_n(n, rank))
    }

    /// Applies `step` to the rows, and again to its result, until nothing changes. It computes, for example,
    /// transitive closures, shortest paths or connected components. Other tables are brought into the loop by
    /// [`enter`](Self::enter). The result must stop changing at some point, usually by `distinct` or `reduce`.
    #[must_use]
    pub fn iterate<F>(self, step: F) -> Self
    where
        for<'i> F: FnOnce(Iterative<'i, Moment, u64>, LoopRows<'i, K, V>) -> LoopRows<'i, K, V>,
    {
        self.over(|rows| {
            Relation::new(rows.into_rows().iterate(|scope, rows| step(scope, Relation::new(rows)).into_rows()))
        })
    }

    /// Brings the rows into the loop of another table's [`iterate`](Self::iterate). The result of that loop must then
    /// be declared as [`derived_from`](Self::derived_from) this table.
    #[must_use]
    pub fn enter<'i>(&self, scope: Iterative<'i, Moment, u64>) -> LoopRows<'i, K, V> {
        Relation::new(self.rows().enter(scope))
    }

    /// Returns the rows as a collection of differential dataflow, for operations that a table does not have. See
    /// [`Relation::into_rows`] for operations to avoid. [`derive`](Self::derive) makes a table of a collection again.
    #[must_use]
    pub fn rows(&self) -> Rows<'s, (K, V)> {
        self.rows.clone().into_rows()
    }

    /// Returns a table of `rows`, which were computed from the rows of this table.
    #[must_use]
    pub fn derive<K2: Row, V2: Row>(&self, rows: Rows<'s, (K2, V2)>) -> Table<'s, K2, V2> {
        Table { flow: self.flow.clone(), rows: Relation::new(rows), lineage: self.lineage.clone() }
    }

    /// Declares that this table was computed from the table `other` as well. It is required if the
    /// [`rows`](Self::rows) of `other` were used: without it, a restore does not know how far this table has read the
    /// other one.
    #[must_use]
    pub fn derived_from<K2: Row, V2: Row>(mut self, other: &Table<'s, K2, V2>) -> Self {
        self.lineage = self.lineage.and(other.lineage.clone());
        self
    }

    fn over<K2: Row, V2: Row>(
        self,
        f: impl FnOnce(Relation<'s, Moment, K, V>) -> Relation<'s, Moment, K2, V2>,
    ) -> Table<'s, K2, V2> {
        let Self { flow, rows, lineage } = self;
        Table { flow, rows: f(rows), lineage }
    }

    fn over_both<K2: Row, V2: Row, K3: Row, V3: Row>(
        self,
        other: Table<'s, K2, V2>,
        f: impl FnOnce(Relation<'s, Moment, K, V>, Relation<'s, Moment, K2, V2>) -> Relation<'s, Moment, K3, V3>,
    ) -> Table<'s, K3, V3> {
        let Self { flow, rows, lineage } = self;
        Table { flow, rows: f(rows, other.rows), lineage: lineage.and(other.lineage) }
    }

    /// Emits the changes of the row of each key, for views that have at most one row per key. A key with more rows at
    /// some event time makes a dead letter then, and what was emitted of the key before stays valid.
    ///
    /// * Time, order: one upsert per key and event time at which its row changes, with that event time, once the
    ///   watermark has passed it. The upserts of a key are in order.
    /// * Guarantee: the upserts are the same after any crash. A changed program that computes another view emits the
    ///   difference.
    ///
    /// # Errors
    /// When the name is taken or the state cannot be opened.
    pub fn upserts(self, name: &str) -> Result<Stream<'s, Upsert<K, V>>, JobError> {
        let Self { flow, rows, lineage } = self;
        let emitted = Output::of(&flow, name, &lineage);
        let changes = flow.changes(rows.into_rows(), emitted.restored).key_by(|((key, _), _)| key.clone());
        let run = flow.first_epoch().0;
        let output =
            changes.process(name, Order::Arrival, move |states| EmittedLogic::<K, V, AsUpserts>::open(states, run))?;
        Ok(output.results.with_progress(&emitted.progress))
    }

    /// Emits which rows are added and removed, and how many of each.
    ///
    /// * Time, order: one change per row and event time, once the watermark has passed it. Changes of the same event
    ///   time are in no particular order.
    /// * Guarantee: the same as for [`upserts`](Self::upserts).
    ///
    /// # Errors
    /// When the name is taken or the state cannot be opened.
    pub fn changes(self, name: &str) -> Result<Stream<'s, Change<K, V>>, JobError> {
        let Self { flow, rows, lineage } = self;
        let emitted = Output::of(&flow, name, &lineage);
        let changes =
            flow.changes(rows.into_rows().map(|row| (row, ())), emitted.restored).key_by(|((row, ()), _)| row.clone());
        let run = flow.first_epoch().0;
        let output = changes
            .process(name, Order::Arrival, move |states| EmittedLogic::<(K, V), (), AsChanges>::open(states, run))?;
        Ok(output.results.with_progress(&emitted.progress))
    }
}

/// An output of a view while it is built.
struct Output {
    progress: Progress,
    /// The watermark at which the output continues.
    restored: EventTime,
}

impl Output {
    /// Registers the output with the base tables.
    fn of(flow: &Flow<'_>, name: &str, lineage: &Lineage) -> Self {
        let (progress, restored) = (Progress::new(), flow.restored_watermark(name));
        lineage.add(&Reader { progress: progress.clone(), restored });
        Self { progress, restored: restored.unwrap_or(EventTime::MIN) }
    }
}
