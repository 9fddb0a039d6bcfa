//! The records with the highest score in a window, as q5 and q7 need them.

use std::cmp::Ordering;
use std::marker::PhantomData;

use tidemill::prelude::*;

/// An aggregate that keeps the records with the highest score, all of them where several share it. [`highest`] creates
/// it.
pub struct Highest<T, F> {
    score: F,
    record: PhantomData<fn(&T)>,
}

pub fn highest<T: Data, F: Fn(&T) -> u64 + 'static>(score: F) -> Highest<T, F> {
    Highest { score, record: PhantomData }
}

impl<T: Data, F: Fn(&T) -> u64 + 'static> Aggregate for Highest<T, F> {
    type In = T;
    type Accumulator = Vec<T>;
    type Out = Vec<T>;

    fn empty(&self) -> Vec<T> {
        Vec::new()
    }
    fn add(&self, best: &mut Vec<T>, record: &T) {
        match best.first().map_or(Ordering::Less, |first| (self.score)(first).cmp(&(self.score)(record))) {
            Ordering::Less => *best = vec![record.clone()],
            Ordering::Equal => best.push(record.clone()),
            Ordering::Greater => {}
        }
    }
    fn merge(&self, into: &mut Vec<T>, other: &Vec<T>) {
        other.iter().for_each(|record| self.add(into, record));
    }
    fn finish(&self, best: &Vec<T>) -> Vec<T> {
        best.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_share_the_first_place_are_kept() {
        let by_tens = highest(|n: &u64| n / 10);
        let of = |numbers: &[u64]| {
            let mut best = by_tens.empty();
            numbers.iter().for_each(|n| by_tens.add(&mut best, n));
            best
        };
        let mut best = of(&[7, 31, 12, 35]);
        assert_eq!(by_tens.finish(&best), [31, 35]);
        by_tens.merge(&mut best, &of(&[38, 2]));
        by_tens.merge(&mut best, &of(&[29]));
        by_tens.merge(&mut best, &by_tens.empty());
        assert_eq!(by_tens.finish(&best), [31, 35, 38]);
    }
}
