//! Pass through: what it costs to generate events and to move them.
//! ```text
//! SELECT * FROM bid
//! ```

use tidemill::prelude::*;

use crate::events::{Bid, Event, bids};

pub fn q0(events: Stream<'_, Event>) -> Result<Stream<'_, Bid>, JobError> {
    Ok(bids(events))
}
