//! Joins of two keyed streams, as a program declares them.

use tidemill_engine::shell::{Order, States};
use tidemill_engine::stream::{Either, KeyedStream};
use tidemill_engine::{Data, JobError, Stream};
use tidemill_state::Key;

use super::interval::{Between, IntervalJoinLogic};
use super::kind::{JoinKind, Joined};
use super::temporal::{TemporalJoinLogic, TemporalTable};
use super::window::pairs;
use crate::window::{Assigner, WindowExt as _, Windowed};

/// The outputs of a join.
pub struct JoinOutput<'s, O: Data, L: Data> {
    /// Results of the join.
    pub results: Stream<'s, O>,
    /// Records that came too late to be joined.
    pub late: Stream<'s, L>,
}

/// The outputs of a join of two streams.
pub type PairsOutput<'s, A, B> = JoinOutput<'s, Joined<A, B>, Either<A, B>>;

/// The outputs of a join with a table. A result is a record, with its row if there was one.
pub type RowsOutput<'s, A, V> = JoinOutput<'s, (A, Option<V>), Either<A, V>>;

/// Adds joins to keyed streams.
pub trait JoinExt<'s, K: Key + Data, A: Data> {
    /// Pairs the records that are in the same window, when the window ends. The event time of a result is the last
    /// millisecond of the window. For allowed lateness, triggers and the like, use `connect`,
    /// [`window`](crate::window::WindowExt::window) and [`pairs`] instead.
    ///
    /// # Errors
    /// When the lengths of the windows are invalid, the name is taken, or the state cannot be opened.
    fn window_join<B: Data>(
        self,
        name: &str,
        right: KeyedStream<'s, K, B>,
        assigner: impl Into<Assigner>,
        kind: JoinKind,
    ) -> Result<PairsOutput<'s, A, B>, JobError>;

    /// Pairs each record with the records of `right` whose times are within the bounds `between`. A pair is emitted
    /// when the later record comes, and has its event time. A record without a partner is emitted, if `kind` says so,
    /// when no partner can come any more.
    ///
    /// # Errors
    /// When the bounds are invalid, the name is taken, or the state cannot be opened.
    fn interval_join<B: Data>(
        self,
        name: &str,
        right: KeyedStream<'s, K, B>,
        between: Between,
        kind: JoinKind,
    ) -> Result<PairsOutput<'s, A, B>, JobError>;

    /// Joins each record with the row of its key as it was at the record's time: the latest version up to then.
    ///
    /// # Errors
    /// When the table's history is invalid, the name is taken, or the state cannot be opened.
    fn temporal_join<V: Data>(
        self,
        name: &str,
        versions: KeyedStream<'s, K, V>,
        table: TemporalTable<V>,
    ) -> Result<RowsOutput<'s, A, V>, JobError>;
}

impl<'s, K: Key + Data, A: Data> JoinExt<'s, K, A> for KeyedStream<'s, K, A> {
    fn window_join<B: Data>(
        self,
        name: &str,
        right: KeyedStream<'s, K, B>,
        assigner: impl Into<Assigner>,
        kind: JoinKind,
    ) -> Result<PairsOutput<'s, A, B>, JobError> {
        let windows = self.connect(right).window(name, assigner).order(Order::EventTime).aggregate(pairs(kind))?;
        let results = windows.results.flat_map(|window: Windowed<K, Vec<Joined<A, B>>>| window.value);
        Ok(JoinOutput { results, late: windows.late })
    }

    fn interval_join<B: Data>(
        self,
        name: &str,
        right: KeyedStream<'s, K, B>,
        between: Between,
        kind: JoinKind,
    ) -> Result<PairsOutput<'s, A, B>, JobError> {
        let open = move |states: &mut States<'_, K>| IntervalJoinLogic::open(states, between, kind);
        let output = self.connect(right).process(name, Order::EventTime, open)?;
        Ok(JoinOutput { results: output.results, late: output.side })
    }

    fn temporal_join<V: Data>(
        self,
        name: &str,
        versions: KeyedStream<'s, K, V>,
        table: TemporalTable<V>,
    ) -> Result<RowsOutput<'s, A, V>, JobError> {
        let open = move |states: &mut States<'_, K>| TemporalJoinLogic::open(states, table);
        let output = self.connect(versions).process(name, Order::EventTime, open)?;
        Ok(JoinOutput { results: output.results, late: output.side })
    }
}
