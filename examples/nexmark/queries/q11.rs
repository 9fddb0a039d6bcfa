//! User sessions: how many bids a bidder makes until silent for ten seconds.
//! ```text
//! SELECT bidder, COUNT(*) AS bid_count, starttime, endtime FROM SESSION(bid, 10 s) GROUP BY bidder, starttime, endtime
//! ```
//! A session ends ten seconds after its last bid: a bid exactly ten seconds later begins the next session. (In
//! Flink it belongs to the same session, unless that session has been emitted by then.)

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::{Event, bids};

const GAP: Duration = secs(10);

/// The number of bids of a bidder in a session, or for q12 in a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BidCount {
    pub bidder: usize,
    pub bid_count: u64,
    pub starttime: EventTime,
    pub endtime: EventTime,
}

impl From<Windowed<usize, u64>> for BidCount {
    fn from(Windowed { key: bidder, window, value: bid_count, .. }: Windowed<usize, u64>) -> Self {
        Self { bidder, bid_count, starttime: window.start, endtime: window.end }
    }
}

pub fn q11(events: Stream<'_, Event>) -> Result<Stream<'_, BidCount>, JobError> {
    let bidders = bids(events).map(|bid| bid.bidder).key_by(|bidder| *bidder);
    let sessions = bidders.window("sessions", Assigner::session(GAP)).aggregate(counting())?.results;
    Ok(sessions.map(BidCount::from))
}
