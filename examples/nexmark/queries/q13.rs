//! Bounded side input join: each bid with the row of a table that is read to its end before the first bid.
//! ```text
//! SELECT b.auction, b.bidder, b.price, b.datetime, s.value FROM bid b JOIN side_input s ON MOD(b.auction, 10000)
//!     = s.key
//! ```
//! The table has the keys 0 to 9999. Its rows are valid from the beginning of time, so event time waits for all of
//! them.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::{Bid, Event, bids};

const ROWS: usize = 10_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    key: usize,
    value: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ValuedBid {
    auction: usize,
    bidder: usize,
    price: usize,
    date_time: u64,
    value: String,
}

pub fn q13<'s>(flow: &Flow<'s>, events: Stream<'s, Event>) -> Result<Stream<'s, ValuedBid>, JobError> {
    let rows = (0..ROWS).map(|key| (EventTime::MIN, Row { key, value: format!("value {key}") }));
    let side_input = flow.source("side-input", &vec_source(rows.collect()))?.key_by(|row| row.key);
    let bids = bids(events).map(|Bid { auction, bidder, price, date_time, .. }| ValuedBid {
        auction,
        bidder,
        price,
        date_time,
        value: String::new(),
    });
    let joined = bids.key_by(|bid| bid.auction % ROWS).temporal_join("valued", side_input, TemporalTable::new())?;
    Ok(joined.results.flat_map(|(bid, row)| row.map(|row| ValuedBid { value: row.value, ..bid })))
}
