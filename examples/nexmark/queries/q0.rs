//! Pass through: measures the cost of generating events and moving them.
//! ```text
//! SELECT * FROM bid
//! ```

use tidemill::prelude::*;

use crate::events::{Bid, Event, bids};

pub fn q0(events: Stream<'_, Event>) -> Result<Stream<'_, Bid>, JobError> {
    Ok(bids(events))
}
