//! Views: tables made of tables, kept true as those change.

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

/// Rows under keys, as they are at each event time. Cheap to clone: clones share what was computed so far.
///
/// A key may have many rows, and the same row more than once. Functions are called again and again, on any worker, in
/// any order: they must depend on nothing but their arguments.
#[derive(Clone)]
pub struct Table<'s, K: Row, V: Row> {
    flow: Flow<'s>,
    rows: Relation<'s, Moment, K, V>,
    lineage: Lineage,
}

/// Rows in the loop of [`Table::iterate`].
pub type LoopRows<'i, K, V> = Relation<'i, Product<Moment, u64>, K, V>;

impl<'s, K: Row, V: Row> Table<'s, K, V> {
    pub(super) fn new(flow: Flow<'s>, rows: Rows<'s, (K, V)>, lineage: Lineage) -> Self {
        Self { flow, rows: Relation::new(rows), lineage }
    }

    /// The rows that `f` holds for.
    #[must_use]
    pub fn filter(self, f: impl Fn(&K, &V) -> bool + 'static) -> Self {
        self.over(|rows| rows.filter(f))
    }

    /// Changes each key and row. Rows that become the same are counted as many.
    #[must_use]
    pub fn map<K2: Row, V2: Row>(self, f: impl Fn(K, V) -> (K2, V2) + 'static) -> Table<'s, K2, V2> {
        self.over(|rows| rows.map(f))
    }

    /// Makes any number of rows out of each.
    #[must_use]
    pub fn flat_map<K2: Row, V2: Row, I: IntoIterator<Item = (K2, V2)> + 'static>(
        self,
        f: impl Fn(K, V) -> I + 'static,
    ) -> Table<'s, K2, V2> {
        self.over(|rows| rows.flat_map(f))
    }

    /// The rows of both tables. What is in both is there twice.
    #[must_use]
    pub fn concat(self, other: Self) -> Self {
        self.over_both(other, Relation::concat)
    }

    /// Each row of this table with each row of the other one that has the same key.
    #[must_use]
    pub fn join<V2: Row>(self, other: Table<'s, K, V2>) -> Table<'s, K, (V, V2)> {
        self.over_both(other, Relation::join)
    }

    /// The rows whose key is in the other table.
    #[must_use]
    pub fn semijoin<V2: Row>(self, other: Table<'s, K, V2>) -> Self {
        self.over_both(other, Relation::semijoin)
    }

    /// The rows whose key is not in the other table.
    #[must_use]
    pub fn antijoin<V2: Row>(self, other: Table<'s, K, V2>) -> Self {
        self.over_both(other, Relation::antijoin)
    }

    /// Makes one row, or none, of all rows of a key. They come sorted, each with how often it is there; there is at
    /// least one. A change of a key looks at all of its rows.
    #[must_use]
    pub fn reduce<V2: Row>(self, f: impl Fn(&K, &[(&V, isize)]) -> Option<V2> + 'static) -> Table<'s, K, V2> {
        self.over(|rows| rows.reduce(f))
    }

    /// How many rows a key has. A key without rows has no count.
    #[must_use]
    pub fn count(self) -> Table<'s, K, i64> {
        self.over(Relation::count)
    }

    /// Each row once.
    #[must_use]
    pub fn distinct(self) -> Self {
        self.over(Relation::distinct)
    }

    /// The `n` rows of each key with the greatest rank, the best one first, as one row; of the same rank the lesser
    /// row comes first. For the best of all, give all rows the key `()`.
    #[must_use]
    pub fn top_n<R: Ord>(self, n: usize, rank: impl Fn(&V) -> R + 'static) -> Table<'s, K, Vec<V>> {
        self.over(|rows| rows.top_n(n, rank))
    }

    /// Applies `step` to the rows, and again to what came of it, until nothing changes: transitive closures, shortest
    /// paths, connected components. Other tables are brought in by [`enter`](Self::enter), and what comes out must
    /// settle, usually by `distinct` or `reduce`.
    #[must_use]
    pub fn iterate<F>(self, step: F) -> Self
    where
        for<'i> F: FnOnce(Iterative<'i, Moment, u64>, LoopRows<'i, K, V>) -> LoopRows<'i, K, V>,
    {
        self.over(|rows| {
            Relation::new(rows.into_rows().iterate(|scope, rows| step(scope, Relation::new(rows)).into_rows()))
        })
    }

    /// The rows in the loop of another table's [`iterate`](Self::iterate), which is then
    /// [`derived_from`](Self::derived_from) this one.
    #[must_use]
    pub fn enter<'i>(&self, scope: Iterative<'i, Moment, u64>) -> LoopRows<'i, K, V> {
        Relation::new(self.rows().enter(scope))
    }

    /// The rows as a collection of differential dataflow, for all that is not here, but see [`Relation::into_rows`].
    /// The way back is [`derive`](Self::derive).
    #[must_use]
    pub fn rows(&self) -> Rows<'s, (K, V)> {
        self.rows.clone().into_rows()
    }

    /// The table of rows that were computed from this one's.
    #[must_use]
    pub fn derive<K2: Row, V2: Row>(&self, rows: Rows<'s, (K2, V2)>) -> Table<'s, K2, V2> {
        Table { flow: self.flow.clone(), rows: Relation::new(rows), lineage: self.lineage.clone() }
    }

    /// Says that this table was computed from the other one as well: whoever brought its [`rows`](Self::rows) in has
    /// to, or a restore does not know how far the other one is read.
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

    /// Emits how the row of each key changes, for views that have one row per key at most. A key with more at some
    /// event time gives a dead letter then, and what was emitted of it stands.
    ///
    /// * Time, order: one upsert per key and event time at which its row changes, with that event time, once the
    ///   watermark has passed it; those of a key in order.
    /// * Guarantee: the same after any crash. A program that computes another view emits what differs.
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

    /// Emits which rows come and go, and how many of each.
    ///
    /// * Time, order: one change per row and event time, once the watermark has passed that; what comes and what goes
    ///   at the same event time is in no particular order.
    /// * Guarantee: as [`upserts`](Self::upserts).
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
    /// Where it goes on.
    restored: EventTime,
}

impl Output {
    /// Registers it with the base tables.
    fn of(flow: &Flow<'_>, name: &str, lineage: &Lineage) -> Self {
        let (progress, restored) = (Progress::new(), flow.restored_watermark(name));
        lineage.add(&Reader { progress: progress.clone(), restored });
        Self { progress, restored: restored.unwrap_or(EventTime::MIN) }
    }
}
