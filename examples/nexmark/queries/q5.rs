//! Hot items: every two seconds, the auctions with the most bids in the last ten.
//! ```text
//! SELECT auction, num, starttime, endtime FROM
//!   (SELECT auction, COUNT(*) AS num, starttime, endtime,
//!           MAX(COUNT(*)) OVER (PARTITION BY endtime) AS most
//!    FROM HOP(bid, 2 s, 10 s) GROUP BY auction, starttime, endtime)
//! WHERE num = most
//! ```
//! All auctions that share the first place are emitted.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use super::highest::highest;
use crate::events::{Event, bids};

const SIZE: Duration = secs(10);
const SLIDE: Duration = secs(2);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HotItem {
    auction: usize,
    num: u64,
    starttime: EventTime,
    endtime: EventTime,
}

pub fn q5(events: Stream<'_, Event>) -> Result<Stream<'_, HotItem>, JobError> {
    let counts = bids(events)
        .map(|bid| bid.auction)
        .key_by(|auction| *auction)
        .window("bids", Assigner::sliding(SIZE, SLIDE))
        .aggregate(counting())?
        .results;
    let items = counts.map(|Windowed { key: auction, window, value: num, .. }| HotItem {
        auction,
        num,
        starttime: window.start,
        endtime: window.end,
    });
    // A count is stamped with the last millisecond of its window, so each slide groups the counts of one window only.
    let hottest = items
        .key_by(|item| item.endtime)
        .window("hottest", Assigner::tumbling(SLIDE))
        .aggregate(highest(|item: &HotItem| item.num))?
        .results;
    Ok(hottest.flat_map(|window| window.value))
}
