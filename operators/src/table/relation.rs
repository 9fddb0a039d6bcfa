//! Operations on rows under keys, in the job's dataflow and in its loops.

use std::cmp::Reverse;

use differential_dataflow::VecCollection;

use super::Row;
use super::reduction::{DataflowTime, reduce};

/// Rows under keys, at times `T`. A [`Table`](super::Table) consists of these, and so do the rows in the loop of
/// [`Table::iterate`](super::Table::iterate). It is cheap to clone: clones share what was computed so far.
///
/// A key may have many rows, and the same row more than once. Functions passed to a relation are called any number of
/// times, on any worker, in any order: they must depend on nothing but their arguments.
#[derive(Clone)]
pub struct Relation<'s, T: DataflowTime, K: Row, V: Row>(VecCollection<'s, T, (K, V), isize>);

impl<'s, T: DataflowTime, K: Row, V: Row> Relation<'s, T, K, V> {
    /// Returns the relation of the rows in a collection of differential dataflow.
    #[must_use]
    pub fn new(rows: VecCollection<'s, T, (K, V), isize>) -> Self {
        Self(rows)
    }

    /// Returns the rows as a collection of differential dataflow. As of version 0.26, the collection's own `reduce`,
    /// `count`, `distinct` and `threshold` leave out changes in some cases (a test in `reduction.rs` has one): use the
    /// methods of this type.
    #[must_use]
    pub fn into_rows(self) -> VecCollection<'s, T, (K, V), isize> {
        self.0
    }

    /// Keeps the rows for which `f` is true.
    #[must_use]
    pub fn filter(self, f: impl Fn(&K, &V) -> bool + 'static) -> Self {
        Self(self.0.filter(move |(key, row)| f(key, row)))
    }

    /// Changes each key and row by `f`. If several rows become the same, the relation has that row as many times.
    #[must_use]
    pub fn map<K2: Row, V2: Row>(self, f: impl Fn(K, V) -> (K2, V2) + 'static) -> Relation<'s, T, K2, V2> {
        Relation(self.0.map(move |(key, row)| f(key, row)))
    }

    /// Makes any number of rows from each row by `f`.
    #[must_use]
    pub fn flat_map<K2: Row, V2: Row, I: IntoIterator<Item = (K2, V2)> + 'static>(
        self,
        f: impl Fn(K, V) -> I + 'static,
    ) -> Relation<'s, T, K2, V2> {
        Relation(self.0.flat_map(move |(key, row)| f(key, row)))
    }

    /// Returns the rows of both relations. A row that is in both is there twice.
    #[must_use]
    pub fn concat(self, other: Self) -> Self {
        Self(self.0.concat(other.0))
    }

    /// Pairs each row with each row of the other relation that has the same key.
    #[must_use]
    pub fn join<V2: Row>(self, other: Relation<'s, T, K, V2>) -> Relation<'s, T, K, (V, V2)> {
        Relation(self.0.join(other.0))
    }

    /// Keeps the rows whose key is in the other relation.
    #[must_use]
    pub fn semijoin<V2: Row>(self, other: Relation<'s, T, K, V2>) -> Self {
        Self(self.0.semijoin(other.keys()))
    }

    /// Keeps the rows whose key is not in the other relation.
    #[must_use]
    pub fn antijoin<V2: Row>(self, other: Relation<'s, T, K, V2>) -> Self {
        Self(self.0.antijoin(other.keys()))
    }

    /// Makes one row, or none, from all rows of a key by `f`. The rows are sorted, each comes with its number of
    /// occurrences, and there is at least one. Cost: a change of a key reads all of its rows.
    #[must_use]
    pub fn reduce<V2: Row>(self, f: impl Fn(&K, &[(&V, isize)]) -> Option<V2> + 'static) -> Relation<'s, T, K, V2> {
        Relation(reduce(self.0, "reduce", move |key, rows, out| out.extend(f(key, rows).map(|row| (row, 1)))))
    }

    /// Counts the rows of each key. A key without rows has no count.
    #[must_use]
    pub fn count(self) -> Relation<'s, T, K, i64> {
        self.reduce(|_, rows| Some(rows.iter().map(|(_, count)| *count as i64).sum()))
    }

    /// Keeps each different row once.
    #[must_use]
    pub fn distinct(self) -> Self {
        Self(each_once(self.0))
    }

    /// Keeps the `n` rows of each key with the greatest rank, as one row in which the best comes first. Of rows with
    /// the same rank, the lesser row comes first. For the best rows of all keys, give all rows the key `()`.
    #[must_use]
    pub fn top_n<R: Ord>(self, n: usize, rank: impl Fn(&V) -> R + 'static) -> Relation<'s, T, K, Vec<V>> {
        self.reduce(move |_, rows| {
            // The rows are sorted, so a later row is greater and goes behind those of the same rank.
            let mut best: Vec<(Reverse<R>, &V, isize)> = Vec::with_capacity(n.saturating_add(1).min(rows.len()));
            for (row, count) in rows.iter().filter(|(_, count)| *count > 0) {
                let rank = Reverse(rank(row));
                let place = best.partition_point(|(better, ..)| *better <= rank);
                if place < n {
                    best.insert(place, (rank, *row, *count));
                    best.truncate(n);
                }
            }
            let each = best.into_iter().flat_map(|(_, row, count)| std::iter::repeat_n(row, count.unsigned_abs()));
            let best: Vec<V> = each.take(n).cloned().collect();
            (!best.is_empty()).then_some(best)
        })
    }

    fn keys(self) -> VecCollection<'s, T, K, isize> {
        each_once(self.0.map(|(key, _)| (key, ()))).map(|(key, ())| key)
    }
}

fn each_once<'s, T: DataflowTime, D: Row>(rows: VecCollection<'s, T, D, isize>) -> VecCollection<'s, T, D, isize> {
    reduce(rows.map(|row| (row, ())), "distinct", |_, _, out| out.push(((), 1))).map(|(row, ())| row)
}
