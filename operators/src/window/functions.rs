//! Exact aggregates: counts, full-window functions, top n.

use std::cmp::Reverse;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use tidemill_engine::Data;
use tidemill_state::Value;

use super::Aggregate;

/// An aggregate that counts records. Made by [`counting`].
pub struct Counting<T>(PhantomData<fn(&T)>);

/// Returns an aggregate that counts the records of a window.
#[must_use]
pub const fn counting<T>() -> Counting<T> {
    Counting(PhantomData)
}

impl<T: 'static> Aggregate for Counting<T> {
    type In = T;
    type Accumulator = u64;
    type Out = u64;

    fn empty(&self) -> u64 {
        0
    }
    fn add(&self, count: &mut u64, _: &T) {
        *count += 1;
    }
    fn merge(&self, into: &mut u64, other: &u64) {
        *into += other;
    }
    fn finish(&self, count: &u64) -> u64 {
        *count
    }
}

/// An aggregate that applies a function to all records of a window. Made by [`full_window`].
pub struct FullWindow<T, F> {
    function: F,
    record: PhantomData<fn(&T)>,
}

/// Returns an aggregate that keeps all records of a window and passes them to `function`, for results that no
/// incremental aggregate can compute.
///
/// The records are in the order in which they were added. Sliding windows and sessions are merged from parts; their
/// records are in the order of the parts. State grows with the number of records.
pub fn full_window<T: Data, O: Data, F: Fn(&[T]) -> O + 'static>(function: F) -> FullWindow<T, F> {
    FullWindow { function, record: PhantomData }
}

impl<T: Data, O: Data, F: Fn(&[T]) -> O + 'static> Aggregate for FullWindow<T, F> {
    const GROWS: bool = true;
    type In = T;
    type Accumulator = Vec<T>;
    type Out = O;

    fn empty(&self) -> Vec<T> {
        Vec::new()
    }
    fn add(&self, records: &mut Vec<T>, record: &T) {
        records.push(record.clone());
    }
    fn merge(&self, into: &mut Vec<T>, other: &Vec<T>) {
        into.extend_from_slice(other);
    }
    fn finish(&self, records: &Vec<T>) -> O {
        (self.function)(records)
    }
}

/// An aggregate that keeps the records with the highest scores. Made by [`top_n`].
pub struct TopN<T, S, F> {
    n: usize,
    score: F,
    record: PhantomData<fn(&T) -> S>,
}

/// Returns an aggregate that keeps the `n` records with the highest scores, highest first.
///
/// Of records with the same score, those that were added first stay. Where a replay must keep the same ones, put a
/// value that distinguishes them into the score.
pub fn top_n<T: Data, S: Ord, F: Fn(&T) -> S + 'static>(n: usize, score: F) -> TopN<T, S, F> {
    TopN { n, score, record: PhantomData }
}

/// A record and its score.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ranked<T, S> {
    score: S,
    record: T,
}

impl<T: Data, S: Ord + Clone, F: Fn(&T) -> S + 'static> TopN<T, S, F> {
    fn insert(&self, best: &mut Vec<Ranked<T, S>>, record: &T, score: S) {
        let at = best.partition_point(|other| Reverse(&other.score) <= Reverse(&score));
        if at < self.n {
            best.truncate(self.n - 1);
            best.insert(at, Ranked { score, record: record.clone() });
        }
    }
}

impl<T: Data, S: Ord + Clone + Value, F: Fn(&T) -> S + 'static> Aggregate for TopN<T, S, F> {
    type In = T;
    type Accumulator = Vec<Ranked<T, S>>;
    type Out = Vec<T>;

    fn parameters(&self) -> String {
        format!("the best {}", self.n)
    }
    fn empty(&self) -> Self::Accumulator {
        Vec::new()
    }
    fn add(&self, best: &mut Self::Accumulator, record: &T) {
        self.insert(best, record, (self.score)(record));
    }
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) {
        other.iter().for_each(|ranked| self.insert(into, &ranked.record, ranked.score.clone()));
    }
    fn finish(&self, best: &Self::Accumulator) -> Vec<T> {
        best.iter().map(|ranked| ranked.record.clone()).collect()
    }
}
