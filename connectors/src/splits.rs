//! Splits: numbered pieces of work (chunks, rows, generated records) that are divided among the workers.
//!
//! Piece `k` goes to worker `k mod workers`. What was done is kept as one share per worker of each
//! past run, so that a restore with another number of workers divides exactly the rest.

use serde::{Deserialize, Serialize};

/// A share of a past run: of the pieces `k ≡ residue (mod modulus)`, those below `end` are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Share {
    modulus: u64,
    residue: u64,
    end: u64,
}

impl Share {
    fn covers(&self, piece: u64) -> bool {
        piece < self.end && piece % self.modulus == self.residue
    }
}

/// The pieces that are done, as far as one worker knows. It is part of positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitsPosition {
    /// Everything below is done.
    floor: u64,
    shares: Vec<Share>,
}

/// The splits of one worker, with the piece that it does next.
#[derive(Clone, Debug)]
pub struct Splits {
    before: SplitsPosition,
    own: Share,
}

impl Splits {
    /// Returns the splits of `worker` of `workers`: its part of the pieces that are not in `done`, which are the
    /// positions of all workers of the last run.
    #[must_use]
    pub fn new<'a>(worker: usize, workers: usize, done: impl IntoIterator<Item = &'a SplitsPosition>) -> Self {
        let mut before = SplitsPosition::default();
        for position in done {
            before.floor = before.floor.max(position.floor);
            before.shares.extend(&position.shares);
        }
        before.shares.sort_unstable();
        before.shares.dedup();
        while before.shares.iter().any(|share| share.covers(before.floor)) {
            before.floor += 1;
        }
        before.shares.retain(|share| share.end > before.floor);
        let (modulus, residue) = (workers as u64, worker as u64);
        let mut splits = Self { before, own: Share { modulus, residue, end: 0 } };
        splits.own.end = splits.first_undone(0);
        splits
    }

    /// Returns the piece that this worker does next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.own.end
    }

    /// Marks the current piece as done and moves to the next one.
    pub fn advance(&mut self) {
        self.own.end = self.first_undone(self.own.end + 1);
    }

    /// Returns the first of this worker's pieces, from `from` on, that no past run has done.
    fn first_undone(&self, from: u64) -> u64 {
        let Share { modulus, residue, .. } = self.own;
        let from = from.max(self.before.floor);
        let mut piece = from + (residue + modulus - from % modulus) % modulus;
        while self.before.shares.iter().any(|share| share.covers(piece)) {
            piece += modulus;
        }
        piece
    }

    /// Returns the pieces that are done, as far as this worker knows.
    #[must_use]
    pub fn position(&self) -> SplitsPosition {
        let mut position = self.before.clone();
        position.shares.push(self.own);
        position
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In runs with changing numbers of workers, each of which reads some pieces, every piece is read exactly once.
        #[test]
        fn every_piece_is_done_exactly_once(runs in prop::collection::vec(prop::collection::vec(0..20usize, 1..5), 1..6)) {
            let mut positions: Vec<SplitsPosition> = Vec::new();
            let mut done = BTreeSet::new();
            for steps in runs {
                let mut workers: Vec<Splits> =
                    (0..steps.len()).map(|worker| Splits::new(worker, steps.len(), &positions)).collect();
                for (splits, steps) in workers.iter_mut().zip(&steps) {
                    for _ in 0..*steps {
                        prop_assert!(done.insert(splits.next()), "piece {} was done twice", splits.next());
                        splits.advance();
                    }
                }
                positions = workers.iter().map(Splits::position).collect();
            }
            let mut rest = Splits::new(0, 1, &positions);
            while done.insert(rest.next()) {
                rest.advance();
                if rest.next() > 200 { break; }
            }
            prop_assert!((0..rest.next()).all(|piece| done.contains(&piece)), "a piece was left out");
        }
    }
}
