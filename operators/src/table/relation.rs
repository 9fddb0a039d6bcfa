//! What can be done with rows under keys, in the job's dataflow and in loops of it.

use std::cmp::Reverse;

use differential_dataflow::VecCollection;

use super::Row;
use super::reduction::{DataflowTime, reduce};

/// Rows under keys at times `T`: what a [`Table`](super::Table) is made of, and what there is of it in a loop
/// ([`Table::iterate`](super::Table::iterate)). Cheap to clone: clones share what was computed so far.
///
/// A key may have many rows, and the same row more than once. Functions are called again and again, on any worker, in
/// any order: they must depend on nothing but their arguments.
#[derive(Clone)]
pub struct Relation<'s, T: DataflowTime, K: Row, V: Row>(VecCollection<'s, T, (K, V), isize>);

impl<'s, T: DataflowTime, K: Row, V: Row> Relation<'s, T, K, V> {
    /// Of a collection of differential dataflow.
    #[must_use]
    pub fn new(rows: VecCollection<'s, T, (K, V), isize>) -> Self {
        Self(rows)
    }

    /// As a collection of differential dataflow. Its own `reduce`, `count`, `distinct` and `threshold` leave changes
    /// out now and then, as of its version 0.26 (`reduction.rs` has the case): take the ones here.
    #[must_use]
    pub fn into_rows(self) -> VecCollection<'s, T, (K, V), isize> {
        self.0
    }

    /// The rows that `f` holds for.
    #[must_use]
    pub fn filter(self, f: impl Fn(&K, &V) -> bool + 'static) -> Self {
        Self(self.0.filter(move |(key, row)| f(key, row)))
    }

    /// Changes each key and row. Rows that become the same are counted as many.
    #[must_use]
    pub fn map<K2: Row, V2: Row>(self, f: impl Fn(K, V) -> (K2, V2) + 'static) -> Relation<'s, T, K2, V2> {
        Relation(self.0.map(move |(key, row)| f(key, row)))
    }

    /// Makes any number of rows out of each.
    #[must_use]
    pub fn flat_map<K2: Row, V2: Row, I: IntoIterator<Item = (K2, V2)> + 'static>(
        self,
        f: impl Fn(K, V) -> I + 'static,
    ) -> Relation<'s, T, K2, V2> {
        Relation(self.0.flat_map(move |(key, row)| f(key, row)))
    }

    /// The rows of both. What is in both is there twice.
    #[must_use]
    pub fn concat(self, other: Self) -> Self {
        Self(self.0.concat(other.0))
    }

    /// Each row with each row of the other that has the same key.
    #[must_use]
    pub fn join<V2: Row>(self, other: Relation<'s, T, K, V2>) -> Relation<'s, T, K, (V, V2)> {
        Relation(self.0.join(other.0))
    }

    /// The rows whose key is in the other.
    #[must_use]
    pub fn semijoin<V2: Row>(self, other: Relation<'s, T, K, V2>) -> Self {
        Self(self.0.semijoin(other.keys()))
    }

    /// The rows whose key is not in the other.
    #[must_use]
    pub fn antijoin<V2: Row>(self, other: Relation<'s, T, K, V2>) -> Self {
        Self(self.0.antijoin(other.keys()))
    }

    /// Makes one row, or none, of all rows of a key. They come sorted, each with how often it is there; there is at
    /// least one. A change of a key looks at all of its rows.
    #[must_use]
    pub fn reduce<V2: Row>(self, f: impl Fn(&K, &[(&V, isize)]) -> Option<V2> + 'static) -> Relation<'s, T, K, V2> {
        Relation(reduce(self.0, "reduce", move |key, rows, out| out.extend(f(key, rows).map(|row| (row, 1)))))
    }

    /// How many rows a key has. A key without rows has no count.
    #[must_use]
    pub fn count(self) -> Relation<'s, T, K, i64> {
        self.reduce(|_, rows| Some(rows.iter().map(|(_, count)| *count as i64).sum()))
    }

    /// Each row once.
    #[must_use]
    pub fn distinct(self) -> Self {
        Self(each_once(self.0))
    }

    /// The `n` rows of each key with the greatest rank, the best one first, as one row; of the same rank the lesser
    /// row comes first. For the best of all, give all rows the key `()`.
    #[must_use]
    pub fn top_n<R: Ord>(self, n: usize, rank: impl Fn(&V) -> R + 'static) -> Relation<'s, T, K, Vec<V>> {
        self.reduce(move |_, rows| {
            // Sorted; what comes later is of a greater row, so it goes behind those of its rank.
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
