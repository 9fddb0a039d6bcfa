//! Average selling price by seller: of the closing prices of a seller's last ten auctions.
//! ```text
//! SELECT seller, id, expires, AVG(price) OVER (PARTITION BY seller ORDER BY expires, id ROWS 9 PRECEDING) FROM closed
//! ```
//! It follows the original in CQL: each auction that closes emits a result. (Flink's query cannot be run in Flink; it
//! is over eleven auctions, in the order of their highest bids.)

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use super::closed::{Closed, closed_auctions};
use crate::events::Event;

const AUCTIONS: usize = 10;

/// The average up to and including an auction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SellerPrice {
    seller: usize,
    auction: usize,
    expires: u64,
    average: f64,
}

pub fn q6(events: Stream<'_, Event>) -> Result<Stream<'_, SellerPrice>, JobError> {
    let closed = closed_auctions(events)?.key_by(|closed| closed.seller);
    let averages = |states: &mut States<'_, usize>| Ok(LastTen { prices: states.value("prices")? });
    Ok(closed.process("averages", Order::EventTime, averages)?.results)
}

struct LastTen {
    prices: ValueState<usize, VecDeque<usize>>,
}

impl KeyedLogic for LastTen {
    type Key = usize;
    type In = Closed;
    type Out = SellerPrice;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, usize, SellerPrice, ()>,
        record: Record<Closed>,
    ) -> Result<(), LogicError> {
        let Closed { auction, seller, expires, price, .. } = record.data;
        let average = self.prices.update(ctx, VecDeque::new, |prices| {
            if prices.len() == AUCTIONS {
                prices.pop_front();
            }
            prices.push_back(price);
            prices.iter().sum::<usize>() as f64 / prices.len() as f64
        })?;
        ctx.emit(SellerPrice { seller, auction, expires, average });
        Ok(())
    }

    fn tie_break(closed: &Closed) -> u64 {
        closed.auction as u64
    }
}
