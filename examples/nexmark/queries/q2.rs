//! Selection: the bids on every 123rd auction.
//! ```text
//! SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0
//! ```

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::{Event, bids};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Price {
    auction: usize,
    price: usize,
}

pub fn q2(events: Stream<'_, Event>) -> Result<Stream<'_, Price>, JobError> {
    let selected = bids(events).filter(|bid| bid.auction % 123 == 0);
    Ok(selected.map(|bid| Price { auction: bid.auction, price: bid.price }))
}
