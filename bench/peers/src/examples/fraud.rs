//! The features of the example `fraud_velocity`. Transactions come in order of time.

use std::collections::VecDeque;

use anyhow::Result;
use rustc_hash::FxHashMap;
use serde::Deserialize;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// After this time it is known whether a transaction was a fraud, in ms.
const CHARGE_BACK_DELAY: i64 = 7 * DAY;
const CARD_LENGTHS: [i64; 4] = [5 * MINUTE, DAY, 7 * DAY, 30 * DAY];
const TERMINAL_LENGTHS: [i64; 3] = [DAY, 7 * DAY, 30 * DAY];
/// Number of features.
pub const WIDTH: usize = 18;

#[derive(Deserialize)]
struct Transaction {
    ts: i64,
    card_id: u64,
    terminal_id: u64,
    amount: f64,
    is_fraud: u8,
}

/// Count and sum over (t − W, t] for several lengths W. Each window knows how many of the newest events it has.
struct Windows<const N: usize> {
    events: VecDeque<(i64, f64)>,
    counts: [usize; N],
    sums: [f64; N],
}

impl<const N: usize> Default for Windows<N> {
    fn default() -> Self {
        Self { events: VecDeque::new(), counts: [0; N], sums: [0.0; N] }
    }
}

impl<const N: usize> Windows<N> {
    fn step(&mut self, now: i64, lengths: &[i64; N], value: Option<f64>) {
        if let Some(value) = value {
            self.events.push_back((now, value));
            for at in 0..N {
                self.counts[at] += 1;
                self.sums[at] += value;
            }
        }
        for (at, length) in lengths.iter().enumerate() {
            while self.counts[at] > 0 {
                let (time, value) = self.events[self.events.len() - self.counts[at]];
                if time > now - length {
                    break;
                }
                self.counts[at] -= 1;
                self.sums[at] -= value;
            }
        }
        while self.events.len() > self.counts[N - 1] {
            self.events.pop_front();
        }
    }

    fn count(&self, at: usize) -> f64 {
        self.counts[at] as f64
    }

    fn mean(&self, at: usize) -> f64 {
        if self.counts[at] == 0 { 0.0 } else { self.sums[at] / self.counts[at] as f64 }
    }
}

/// The state: cards with the time of their last transaction, terminals, and what is not known of them yet.
#[derive(Default)]
pub struct Job {
    cards: FxHashMap<u64, (Windows<4>, Option<i64>)>,
    terminals: FxHashMap<u64, Windows<3>>,
    charge_backs: VecDeque<(i64, u64, f64)>,
}

impl Job {
    /// Adds a line. Returns the features of its transaction.
    ///
    /// # Errors
    /// When it is not a transaction.
    pub fn add(&mut self, line: &[u8]) -> Result<[f64; WIDTH]> {
        let Transaction { ts, card_id, terminal_id, amount, is_fraud } = sonic_rs::from_slice(line)?;
        while let Some((known_at, terminal, value)) = self.charge_backs.pop_front_if(|(known_at, ..)| *known_at <= ts) {
            self.terminals.entry(terminal).or_default().step(known_at, &TERMINAL_LENGTHS, Some(value));
        }
        self.charge_backs.push_back((ts + CHARGE_BACK_DELAY, terminal_id, f64::from(is_fraud)));
        let (card, last) = self.cards.entry(card_id).or_default();
        card.step(ts, &CARD_LENGTHS, Some(amount));
        let previous = last.replace(ts);
        let terminal = self.terminals.entry(terminal_id).or_default();
        terminal.step(ts, &TERMINAL_LENGTHS, None);
        Ok([
            amount,
            f64::from((ts.div_euclid(DAY) + 3).rem_euclid(7) >= 5),
            f64::from(ts.rem_euclid(DAY) / HOUR <= 6),
            card.count(0),
            card.mean(0),
            card.count(1),
            card.mean(1),
            card.count(2),
            card.mean(2),
            card.count(3),
            card.mean(3),
            previous.map_or(-1.0, |previous| (ts - previous) as f64 / 1000.0),
            terminal.count(0),
            terminal.mean(0),
            terminal.count(1),
            terminal.mean(1),
            terminal.count(2),
            terminal.mean(2),
        ])
    }
}
