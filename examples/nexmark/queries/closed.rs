//! The first step of q4 and q6: auctions that are over, with the price of their highest bid.
//! ```text
//! SELECT a.id, a.category, a.seller, a.expires, MAX(b.price) AS price FROM auction a JOIN bid b ON b.auction = a.id
//! WHERE b.datetime BETWEEN a.datetime AND a.expires GROUP BY a.id, a.category, a.seller, a.expires
//! ```
//! Each auction is emitted once, when event time has passed its end; nothing is retracted. An auction without a bid is
//! left out; a bid below the reserve counts. When the input ends, all auctions end.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::events::Event;

/// An auction that is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closed {
    pub auction: usize,
    pub category: usize,
    pub seller: usize,
    pub expires: u64,
    pub price: usize,
}

/// The state of an open auction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    auction: usize,
    category: usize,
    seller: usize,
    expires: u64,
    highest: Option<usize>,
}

/// Auctions and bids, in one stream by auction.
type Offer = Either<Open, (usize, usize)>;

pub fn closed_auctions(events: Stream<'_, Event>) -> Result<Stream<'_, Closed>, JobError> {
    let offers = events.flat_map(|event| match event {
        Event::Person(_) => None,
        Event::Auction(a) => Some(Offer::First(Open {
            auction: a.id,
            category: a.category,
            seller: a.seller,
            expires: a.expires,
            highest: None,
        })),
        Event::Bid(bid) => Some(Offer::Second((bid.auction, bid.price))),
    });
    let by_auction = offers.key_by(|offer| match offer {
        Either::First(open) => open.auction,
        Either::Second((auction, _)) => *auction,
    });
    Ok(by_auction.process("closing", Order::EventTime, |states| Ok(Closing { open: states.value("open")? }))?.results)
}

struct Closing {
    open: ValueState<usize, Open>,
}

impl KeyedLogic for Closing {
    type Key = usize;
    type In = Offer;
    type Out = Closed;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, usize, Closed, ()>, record: Record<Offer>) -> Result<(), LogicError> {
        match record.data {
            Either::First(open) => {
                // A bid in the same millisecond as the end still counts.
                ctx.set_timer(EventTime(open.expires as i64) + millis(1));
                self.open.put(ctx, open)?;
            }
            // A bid on an auction that is not open, before its start or after its end, is ignored.
            Either::Second((_, price)) => {
                if let Some(open) = self.open.get(ctx)?
                    && open.highest < Some(price)
                {
                    self.open.put(ctx, Open { highest: Some(price), ..open })?;
                }
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, usize, Closed, ()>, _: EventTime) -> Result<(), LogicError> {
        if let Some(Open { auction, category, seller, expires, highest: Some(price) }) = self.open.remove(ctx)? {
            ctx.emit(Closed { auction, category, seller, expires, price });
        }
        Ok(())
    }

    /// An auction comes before the bids of its own millisecond.
    fn tie_break(record: &Offer) -> u64 {
        u64::from(matches!(record, Either::Second(_)))
    }
}
