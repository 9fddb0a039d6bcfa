//! Highest bid: in each ten seconds.
//! ```text
//! SELECT auction, price, bidder, datetime, extra FROM
//!   (SELECT *, MAX(price) OVER (PARTITION BY endtime) AS most FROM TUMBLE(bid, 10 s))
//! WHERE price = most
//! ```
//! All bids that share the first place are emitted. A bid at the end of a window belongs to the next window, not to
//! both as in Flink's query. The highest bids are found per auction first, so that all workers share the work, and
//! then among these.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use super::highest::highest;
use crate::events::{Bid, Event, bids};

const WINDOWS: Assigner = Assigner::tumbling(secs(10));

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HighBid {
    auction: usize,
    price: usize,
    bidder: usize,
    date_time: u64,
    extra: String,
}

pub fn q7(events: Stream<'_, Event>) -> Result<Stream<'_, HighBid>, JobError> {
    let price = |bid: &HighBid| bid.price as u64;
    let bids = bids(events).map(|Bid { auction, bidder, price, date_time, extra, .. }| HighBid {
        auction,
        price,
        bidder,
        date_time,
        extra,
    });
    let by_auction = bids.key_by(|bid| bid.auction).window("of-auction", WINDOWS).aggregate(highest(price))?.results;
    let candidates = by_auction.flat_map(|window| window.value);
    let of_all = candidates.key_by(|_| ()).window("of-all", WINDOWS).aggregate(highest(price))?.results;
    Ok(of_all.flat_map(|window| window.value))
}
