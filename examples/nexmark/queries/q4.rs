//! Average price for a category: of the closing prices of its auctions.
//! ```text
//! SELECT category, id, expires, AVG(price) OVER (PARTITION BY category ORDER BY expires, id ROWS UNBOUNDED PRECEDING)
//! FROM closed
//! ```
//! It follows the original in CQL: each auction that closes emits a result over all auctions closed so far. Flink's
//! query also averages the highest bids of auctions that are still open, and retracts earlier results.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use super::closed::{Closed, closed_auctions};
use crate::events::Event;

/// The average up to and including an auction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CategoryPrice {
    category: usize,
    auction: usize,
    expires: u64,
    average: f64,
}

pub fn q4(events: Stream<'_, Event>) -> Result<Stream<'_, CategoryPrice>, JobError> {
    let closed = closed_auctions(events)?.key_by(|closed| closed.category);
    let averages = |states: &mut States<'_, usize>| Ok(Averages { prices: states.value("prices")? });
    Ok(closed.process("averages", Order::EventTime, averages)?.results)
}

struct Averages {
    /// Number of prices, and their sum.
    prices: ValueState<usize, (u64, u64)>,
}

impl KeyedLogic for Averages {
    type Key = usize;
    type In = Closed;
    type Out = CategoryPrice;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, usize, CategoryPrice, ()>,
        record: Record<Closed>,
    ) -> Result<(), LogicError> {
        let Closed { auction, category, expires, price, .. } = record.data;
        let average = self.prices.update(ctx, Default::default, |(count, sum)| {
            (*count, *sum) = (*count + 1, *sum + price as u64);
            *sum as f64 / *count as f64
        })?;
        ctx.emit(CategoryPrice { category, auction, expires, average });
        Ok(())
    }

    fn tie_break(closed: &Closed) -> u64 {
        closed.auction as u64
    }
}
