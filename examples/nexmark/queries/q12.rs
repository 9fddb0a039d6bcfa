//! Processing-time windows: how many bids of a bidder come in ten seconds of the wall clock.
//! ```text
//! SELECT bidder, COUNT(*) AS bid_count, starttime, endtime FROM TUMBLE(bid by processing time, 10 s)
//! GROUP BY bidder, starttime, endtime
//! ```
//! Windows that are open when the input ends are emitted. Counts per window differ between runs, but their sum over all
//! windows does not.

use std::time::Duration;

use tidemill::prelude::*;

use super::q11::BidCount;
use crate::events::{Event, bids};

const SIZE: Duration = secs(10);

pub fn q12(events: Stream<'_, Event>) -> Result<Stream<'_, BidCount>, JobError> {
    let bidders = bids(events).map(|bid| bid.bidder).key_by(|bidder| *bidder);
    let windows = bidders.window("windows", Assigner::tumbling(SIZE)).processing_time();
    Ok(windows.aggregate(counting())?.results.map(BidCount::from))
}
