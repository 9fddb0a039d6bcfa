//! Currency conversion: prices in euros.
//! ```text
//! SELECT auction, bidder, 0.908 * price AS price, datetime, extra FROM bid
//! ```
//! The product is a double, not a decimal.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::{Bid, Event, bids};

/// A bid in euro cents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EuroBid {
    auction: usize,
    bidder: usize,
    price: f64,
    date_time: u64,
    extra: String,
}

pub fn q1(events: Stream<'_, Event>) -> Result<Stream<'_, EuroBid>, JobError> {
    Ok(bids(events).map(|Bid { auction, bidder, price, date_time, extra, .. }| EuroBid {
        auction,
        bidder,
        price: 0.908 * price as f64,
        date_time,
        extra,
    }))
}
