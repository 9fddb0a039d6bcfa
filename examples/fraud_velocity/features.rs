//! The features of a transaction, computed before it is scored: velocity of the card, risk of the terminal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::features;
use tidemill::prelude::*;

const MINUTE: i64 = 60_000;
pub const DAY: i64 = 24 * 60 * MINUTE;

/// A line of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    pub tx_id: u64,
    /// Event time, ms since the Unix epoch.
    pub ts: i64,
    pub card_id: u64,
    pub terminal_id: u64,
    pub amount: f64,
    /// Known only later: used for charge-backs, never for the features of this transaction.
    pub is_fraud: u8,
}

impl Transaction {
    pub fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }
}

/// The columns of a transaction from which its charge-back is made.
#[derive(Clone, Debug, Deserialize)]
pub struct ChargeBackLine {
    tx_id: u64,
    ts: i64,
    terminal_id: u64,
    is_fraud: u8,
}

/// The facts about a transaction that become known later: 7 days after it, where nothing else is said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChargeBack {
    pub known_at: i64,
    pub tx_id: u64,
    pub terminal_id: u64,
    pub is_fraud: u8,
}

impl From<Transaction> for ChargeBackLine {
    fn from(transaction: Transaction) -> Self {
        let Transaction { tx_id, ts, terminal_id, is_fraud, .. } = transaction;
        Self { tx_id, ts, terminal_id, is_fraud }
    }
}

impl ChargeBackLine {
    /// Returns what becomes known so long after the transaction.
    pub fn known_after(self, delay: Duration) -> ChargeBack {
        let Self { tx_id, ts, terminal_id, is_fraud } = self;
        ChargeBack { known_at: (EventTime(ts) + delay).0, tx_id, terminal_id, is_fraud }
    }
}

features! {
    /// The features of a transaction. Windows are (t − W, t] and include this transaction; those
    /// of the terminal end 7 days before it.
    pub struct FraudFeatures {
        amount, is_weekend, is_night,
        card_count_5m, card_mean_5m, card_count_1d, card_mean_1d, card_count_7d, card_mean_7d,
        card_count_30d, card_mean_30d, seconds_since_last,
        terminal_count_1d, terminal_risk_1d, terminal_count_7d, terminal_risk_7d,
        terminal_count_30d, terminal_risk_30d,
    }
}

/// A transaction with its features. It is large, and an operator moves a record several times: streams of it have it
/// in a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Featured {
    pub transaction: Transaction,
    pub features: FraudFeatures,
}

/// Computes the velocity of each card: the number and mean amount of its transactions in four windows.
pub struct CardVelocity {
    spent: Rolling<u64>,
}

impl CardVelocity {
    pub fn open(states: &mut States<'_, u64>) -> Result<Self, JobError> {
        Ok(Self { spent: Rolling::open(states, "spent", &[minutes(5), days(1), days(7), days(30)])? })
    }
}

impl KeyedLogic for CardVelocity {
    type Key = u64;
    type In = Transaction;
    type Out = Box<Featured>;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u64, Box<Featured>, ()>,
        record: Record<Transaction>,
    ) -> Result<(), LogicError> {
        let transaction = record.data;
        let Transaction { ts, amount, .. } = transaction;
        if !amount.is_finite() {
            return Err(LogicError::record(format!(
                "transaction {}: amount {amount} is not a number",
                transaction.tx_id
            )));
        }
        let mut features = FraudFeatures { amount, ..FraudFeatures::default() };
        let previous = self.spent.add(ctx, amount, |Rolled { windows: spent, previous }| {
            (features.card_count_5m, features.card_mean_5m) = (spent[0].count as f64, spent[0].mean());
            (features.card_count_1d, features.card_mean_1d) = (spent[1].count as f64, spent[1].mean());
            (features.card_count_7d, features.card_mean_7d) = (spent[2].count as f64, spent[2].mean());
            (features.card_count_30d, features.card_mean_30d) = (spent[3].count as f64, spent[3].mean());
            previous
        })?;
        let (day, hour) = (ts.div_euclid(DAY), ts.rem_euclid(DAY) / (60 * MINUTE));
        // 1970-01-01 was a Thursday.
        features.is_weekend = f64::from((day + 3).rem_euclid(7) >= 5);
        features.is_night = f64::from(hour <= 6);
        features.seconds_since_last =
            previous.map_or(-1.0, |previous| record.event_time.ms_since(previous) as f64 / 1000.0);
        ctx.emit(Box::new(Featured { transaction, features }));
        Ok(())
    }

    fn tie_break(transaction: &Transaction) -> u64 {
        transaction.tx_id
    }
}

/// Computes the risk of each terminal: how many of its transactions are known to be frauds.
pub struct TerminalRisk {
    known: Rolling<u64>,
}

impl TerminalRisk {
    pub fn open(states: &mut States<'_, u64>) -> Result<Self, JobError> {
        Ok(Self { known: Rolling::open(states, "known", &[days(1), days(7), days(30)])? })
    }
}

impl KeyedLogic for TerminalRisk {
    type Key = u64;
    type In = Either<Box<Featured>, ChargeBack>;
    type Out = Box<Featured>;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u64, Box<Featured>, ()>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError> {
        match record.data {
            Either::Second(charge_back) => {
                self.known.add(ctx, f64::from(charge_back.is_fraud), |_| ())?;
            }
            Either::First(mut featured) => {
                let features = &mut featured.features;
                self.known.read(ctx, |Rolled { windows: known, .. }| {
                    (features.terminal_count_1d, features.terminal_risk_1d) = (known[0].count as f64, known[0].mean());
                    (features.terminal_count_7d, features.terminal_risk_7d) = (known[1].count as f64, known[1].mean());
                    (features.terminal_count_30d, features.terminal_risk_30d) =
                        (known[2].count as f64, known[2].mean());
                })?;
                ctx.emit(featured);
            }
        }
        Ok(())
    }

    /// A charge-back known at t counts for a transaction at t.
    fn tie_break(record: &Self::In) -> u64 {
        match record {
            Either::Second(_) => 0,
            Either::First(featured) => featured.transaction.tx_id.saturating_add(1),
        }
    }
}
