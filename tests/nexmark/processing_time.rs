//! The Nexmark query q12 on a clock that the test sets: every window is exact, also with crashes in between.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemill::prelude::ProcessingTime;
use tidemill::testing::ProgramTest;

use crate::events::{Bid, Event};
use crate::queries::q12;

const SIZE_MS: u64 = 10_000;

/// Bidder, start and end of a window, and number of bids.
type Count = (usize, i64, i64, u64);

#[derive(Clone, Debug)]
enum Step {
    Bid(usize),
    Clock(u64),
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..4_usize).prop_map(Step::Bid),
        // The clock often moves exactly to the end of a window, or to just before it.
        2 => prop_oneof![Just(SIZE_MS), Just(SIZE_MS - 1), Just(1), 0..3 * SIZE_MS].prop_map(Step::Clock),
        1 => (1..4_usize).prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

fn bid(bidder: usize) -> Event {
    let (channel, url, extra) = Default::default();
    Event::Bid(Bid { auction: 0, bidder, price: 0, channel, url, date_time: 0, extra })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn bids_are_counted_in_windows_of_the_wall_clock(steps in steps(), workers in 1..4_usize) {
        let mut test = ProgramTest::new();
        let (source, counts) = (test.source::<Event>(), test.sink::<Count>());
        let (from, to) = (source.clone(), counts.clone());
        test.start(workers, move |flow| {
            let counts = q12(flow.source("events", &from)?)?;
            counts.map(|c| (c.bidder, c.starttime.0, c.endtime.0, c.bid_count)).sink("counts", &to)
        });
        let mut now = 0;
        let mut expected: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Bid(bidder) => {
                    source.push(0, bid(bidder));
                    *expected.entry((bidder, now / SIZE_MS * SIZE_MS)).or_default() += 1;
                }
                Step::Clock(on) => {
                    // All earlier bids are counted before the clock moves.
                    test.settle();
                    now += on;
                    test.clock(ProcessingTime(now as i64));
                }
                Step::Crash(workers) => test.crash(workers),
            }
        }
        test.finish();
        let mut found = counts.output();
        found.sort();
        let windows = expected.into_iter().map(|((bidder, start), count)| {
            (bidder, start as i64, (start + SIZE_MS) as i64, count)
        });
        prop_assert_eq!(found, windows.collect::<Vec<Count>>());
    }
}
