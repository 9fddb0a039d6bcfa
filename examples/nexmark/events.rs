//! The events of Nexmark, an auction site: in fifty of them one person, three auctions and 46 bids, half of the bids
//! on a hot auction. They are those of RisingWave's generator (the crate `nexmark`), a pure function of their number.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
pub use nexmark::event::{Auction, Bid, Event, Person};
use tidemill::prelude::*;

/// 2015-07-15, where Nexmark begins by custom; ms.
const BASE_TIME: u64 = 1_436_918_400_000;
/// Events until the next seed's ids begin: whole rounds of fifty.
const EVENTS_PER_SEED: u64 = 50 << 26;
/// The generator permutes groups by this prime.
const PERMUTATION: usize = 953;

/// Which events, and how fast.
#[derive(Clone, Debug, Args)]
pub struct EventArgs {
    /// Number of events.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub events: u64,
    /// Events a second, open loop; as many as are taken by default.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Events a second of event time.
    #[arg(long, default_value = "10000", value_name = "PER_SECOND")]
    pub event_rate: NonZeroU32,
    /// Events come in another order in each group of so many.
    #[arg(long, default_value = "1", value_name = "N")]
    pub out_of_order_group: NonZeroUsize,
    /// Chance. Another seed has other ids, too; 0 is what the standard generator gives.
    #[arg(long, default_value_t = 0)]
    pub seed: u32,
}

impl EventArgs {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), JobError> {
        let group = self.out_of_order_group.get();
        if group.is_multiple_of(PERMUTATION) {
            return Err(JobError::Invalid(format!(
                "--out-of-order-group is {group}: the generator cannot permute multiples of {PERMUTATION}, take another"
            )));
        }
        Ok(())
    }

    /// Returns a name that distinguishes these events from others; it does not depend on their number.
    pub fn identity(&self) -> String {
        let Self { events: _, rate: _, event_rate, out_of_order_group, seed } = self;
        format!("{event_rate}-{out_of_order_group}-{seed}")
    }

    /// Returns all events, in order of arrival.
    pub fn generator(&self) -> EventGenerator {
        let rate = self.event_rate.get() as usize;
        EventGenerator::new(NexmarkConfig {
            base_time: BASE_TIME,
            first_event_id: (u64::from(self.seed) * EVENTS_PER_SEED) as usize,
            out_of_order_group_size: self.out_of_order_group.get(),
            first_rate: rate,
            next_rate: rate,
            ..NexmarkConfig::default()
        })
    }

    /// Returns how far the time of an event may be behind that of an earlier one.
    fn max_out_of_orderness(&self) -> Duration {
        let ms = |events: u64| events.saturating_mul(1_000) / u64::from(self.event_rate.get());
        // The generator computes times as f32, so they are off by some parts in 2^24, and rounds them.
        Duration::from_millis(ms(self.out_of_order_group.get() as u64) + (ms(self.events) >> 21) + 2)
    }

    /// Returns the events as a source, which splits them among the workers.
    pub fn source(&self) -> Generator<Event> {
        let args = self.clone();
        let start = move || {
            let mut generator = args.generator();
            move |index| {
                if generator.offset() != index {
                    generator = generator.clone().with_offset(index);
                }
                // It never ends.
                let event = generator.next().unwrap_or_else(|| unreachable!("the generator of events ended"));
                (EventTime(event.timestamp() as i64), event)
            }
        };
        let source = Generator::per_worker(self.events, start).max_out_of_orderness(self.max_out_of_orderness());
        source.rate(self.rate)
    }
}

/// Returns the bids.
pub fn bids(events: Stream<'_, Event>) -> Stream<'_, Bid> {
    events.flat_map(|event| if let Event::Bid(bid) = event { Some(bid) } else { None })
}

/// Returns the persons and the auctions.
pub fn persons_and_auctions(events: Stream<'_, Event>) -> (Stream<'_, Person>, Stream<'_, Auction>) {
    // Bids are filtered out first, because a stream with two consumers is copied.
    let few = events.filter(|event| !matches!(event, Event::Bid(_)));
    let auctions = few.clone().flat_map(|event| if let Event::Auction(auction) = event { Some(auction) } else { None });
    (few.flat_map(|event| if let Event::Person(person) = event { Some(person) } else { None }), auctions)
}
