//! The job `fraud`: how often and how much a card spent in the last five minutes and the last hour, at each transaction.

use std::collections::VecDeque;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::lines::Key;

/// How far out of order transactions may be, in ms.
pub const BOUND: i64 = 2_000;
const LENGTHS: [i64; 2] = [300_000, 3_600_000];
const HOUR: i64 = 3_600_000;

/// A transaction, parsed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Its number.
    pub id: u64,
    /// The card.
    pub card: Key,
    /// The merchant.
    pub merchant: Key,
    /// Amount of money.
    pub amount: f64,
    /// Event time, in ms.
    pub ts: i64,
}

#[derive(Deserialize)]
struct Line<'a> {
    tx_id: u64,
    card_id: &'a str,
    merchant_id: &'a str,
    amount: f64,
    ts: i64,
}

impl Transaction {
    /// Parses a line.
    ///
    /// # Errors
    /// When it is not a transaction.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let Line { tx_id, card_id, merchant_id, amount, ts } = sonic_rs::from_slice(line)?;
        Ok(Self { id: tx_id, card: Key::of(card_id)?, merchant: Key::of(merchant_id)?, amount, ts })
    }
}

/// The features: amount, count and sum of five minutes, count and sum of an hour, seconds since the card's last
/// transaction, hour of the day, amount divided by the mean of five minutes.
pub type Features = [f64; 8];

/// A card's transactions of the last hour, in event-time order. Each window knows how many of the newest it has.
#[derive(Clone, Default)]
pub struct Card {
    events: VecDeque<(i64, f64)>,
    counts: [usize; 2],
    sums: [f64; 2],
    newest: Option<i64>,
}

impl Card {
    /// Adds a transaction. Returns its features.
    pub fn add(&mut self, transaction: &Transaction) -> Features {
        let Transaction { amount, ts, .. } = *transaction;
        let since = self.newest.map_or(-1.0, |newest| (ts - newest) as f64 / 1000.0);
        self.newest = Some(ts);
        self.events.push_back((ts, amount));
        for (at, length) in LENGTHS.into_iter().enumerate() {
            self.counts[at] += 1;
            self.sums[at] += amount;
            loop {
                let (time, value) = self.events[self.events.len() - self.counts[at]];
                if time > ts - length {
                    break;
                }
                self.counts[at] -= 1;
                self.sums[at] -= value;
            }
        }
        while self.events.len() > self.counts[1] {
            self.events.pop_front();
        }
        let ([few, many], hour) = (self.counts.map(|count| count as f64), (ts / HOUR % 24) as f64);
        [amount, few, self.sums[0], many, self.sums[1], since, hour, amount / (self.sums[0] / few)]
    }
}

/// Transactions that wait for the watermark.
#[derive(Default)]
pub struct Pending(Vec<Transaction>);

impl Pending {
    /// Adds a transaction.
    pub fn push(&mut self, transaction: Transaction) {
        self.0.push(transaction);
    }

    /// Passes the transactions at the watermark or before to `each`, in the order of time and number.
    ///
    /// # Errors
    /// When `each` fails.
    pub fn release(&mut self, watermark: i64, each: impl FnMut(Transaction) -> Result<()>) -> Result<()> {
        if !self.0.iter().any(|transaction| transaction.ts <= watermark) {
            return Ok(());
        }
        self.0.sort_unstable_by_key(|transaction| (transaction.ts, transaction.id));
        let due = self.0.partition_point(|transaction| transaction.ts <= watermark);
        self.0.drain(..due).try_for_each(each)
    }
}
