//! Whole programs with any number of workers that crash and continue with another number. Most run in a simulated
//! world, some on real threads.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::{ProgramTest, Simulation, TestSink, TestSource};

use crate::joins::{all_pairs, ids};
use crate::rest::one_then_two;
use crate::windows::{Ids, windows_of};
use testkit::script::{Event, cases, crash_at, crashes, feed, ms, sorted};

const BETWEEN: Between = Between::new(earlier(millis(10)), later(millis(25)));
const WITHIN_MS: i64 = 40;
const SLIDING: Assigner = Assigner::sliding(millis(50), millis(15));

/// The outputs of the program, one sink each.
#[derive(Clone)]
struct Sinks {
    windows: TestSink<Windowed<u8, Vec<u32>>>,
    joined: TestSink<Joined<Event, Event>>,
    matches: TestSink<Vec<Event>>,
    priced: TestSink<(Event, Option<(u8, i32)>)>,
}

fn build(flow: &Flow<'_>, source: &TestSource<Event>, sinks: &Sinks) -> Result<(), JobError> {
    let events = flow.source("events", source)?;
    let keyed = || events.clone().key_by(|event| event.key);
    keyed().window("sliding", SLIDING).aggregate(Ids)?.results.sink("windows", &sinks.windows)?;
    let (left, right) = events.clone().split(|event| event.id % 2 == 0);
    left.key_by(|e| e.key)
        .interval_join("join", right.key_by(|e| e.key), BETWEEN, JoinKind::Full)?
        .results
        .sink("joined", &sinks.joined)?;
    let pattern = Pattern::begin(ms(WITHIN_MS), |e: &Event| e.value == 1);
    let pattern = pattern.followed_by_unless(|e| e.value == 2, |e| e.value == 3);
    keyed().find("pattern", pattern)?.results.sink("matches", &sinks.matches)?;
    // Rows at the beginning of time are in the table before the first record.
    let prices =
        flow.source("prices", &vec_source((0..3_u8).map(|k| (EventTime::MIN, (k, i32::from(k) * 7))).collect()))?;
    let priced = keyed().temporal_join("prices-join", prices.key_by(|price| price.0), TemporalTable::new())?;
    priced.results.sink("priced", &sinks.priced)
}

/// Generates events of two partitions, each out of order by less than 20 ms. Of the events with the same key and time,
/// at most one has a value other than 0, because their order is not guaranteed.
fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let event = (0..8_i64, 0..20_i64, 0..3_u8, 0..4_i32);
    prop::collection::vec(event, 20..400).prop_map(|events| {
        let mut now = -300;
        let mut placed: Vec<(i64, Event)> = (0..)
            .zip(events)
            .map(|(id, (step, early, key, value))| {
                now += step;
                (now + early, Event { time: now, id, key, value })
            })
            .collect();
        let mut seen = BTreeSet::new();
        let again = placed.iter_mut().filter(|(_, event)| !seen.insert((event.key, event.time)));
        again.for_each(|(_, event)| event.value = 0);
        placed.sort_by_key(|(place, _)| *place);
        placed
    })
}

/// Returns the partition and the time of an event.
fn place_of(event: &Event) -> (usize, i64) {
    (event.id as usize % 2, event.time)
}

/// Checks that the sinks received what a loop over all events computes.
fn check(events: &[(i64, Event)], sinks: &Sinks) -> Result<(), TestCaseError> {
    let mut all: Vec<Event> = events.iter().map(|(_, event)| *event).collect();
    all.sort();
    let mut windows: BTreeMap<(u8, Window), Vec<u32>> = BTreeMap::new();
    for event in &all {
        for window in windows_of(SLIDING, event.time) {
            windows.entry((event.key, window)).or_default().push(event.id);
        }
    }
    let windows = windows.into_iter().map(|((key, window), ids)| (key, window, sorted(ids))).collect::<Vec<_>>();
    let emitted = sinks.windows.output().into_iter().map(|w| (w.key, w.window, w.value)).collect();
    prop_assert_eq!(sorted(emitted), sorted(windows));
    let together = |a: &Event, b: &Event| (-10..=25).contains(&(b.time - a.time));
    let joined = sinks.joined.output().into_iter().map(ids).collect();
    prop_assert_eq!(sorted(joined), all_pairs(&all, JoinKind::Full, together));
    let found = sinks.matches.output().iter().map(|m| m.iter().map(|e| e.id).collect::<Vec<_>>()).collect();
    prop_assert_eq!(sorted(found), one_then_two(&all, WITHIN_MS, true));
    let priced = sinks.priced.output();
    let expected = all.iter().map(|event| (*event, Some((event.key, i32::from(event.key) * 7)))).collect();
    prop_assert_eq!(sorted(priced), sorted(expected));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..cases(200) })]

    /// The program runs in a simulated world, in which the seed decides everything.
    #[test]
    fn a_simulated_program_gives_what_a_loop_gives(
        events in events(),
        seed: u64,
        state_memory in prop::option::of(4_000..100_000_u64),
    ) {
        let mut sim = Simulation::new(seed);
        sim.state_memory(state_memory);
        // This is less than the time by which watermarks are behind.
        sim.settings().reorder = millis(15);
        let source = sim.source();
        let sinks = Sinks { windows: sim.sink(), joined: sim.sink(), matches: sim.sink(), priced: sim.sink() };
        source.idle(2); // a partition that never has records
        let every = sim.draw(3..50);
        feed(&source, &events, every, place_of, |_| ());
        let (from, to) = (source.clone(), sinks.clone());
        sim.run(move |flow| build(flow, &from, &to));
        check(&events, &sinks)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 40, ..cases(8) })]

    /// The program runs on real threads, files and clocks.
    #[test]
    fn a_program_that_crashes_gives_what_a_loop_gives(
        events in events(),
        crashes in crashes(),
        workers in 1..5_usize,
        state_memory in prop::option::of(4_000..100_000_u64),
    ) {
        let mut test = ProgramTest::new();
        test.state_memory(state_memory);
        let source = test.source();
        let sinks = Sinks { windows: test.sink(), joined: test.sink(), matches: test.sink(), priced: test.sink() };
        let (from, to) = (source.clone(), sinks.clone());
        test.start(workers, move |flow| build(flow, &from, &to));
        source.idle(2); // a partition that never has records
        feed(&source, &events, 40, place_of, |at| crash_at(&mut test, &crashes, at, events.len()));
        test.finish();
        check(&events, &sinks)?;
    }
}

#[test]
fn rules_reach_every_key_and_a_split_and_sampled_stream_comes_together() {
    let mut test = ProgramTest::new();
    let (source, rules, out) = (test.source::<(u32, u64)>(), test.source::<u64>(), test.sink::<(u32, u64)>());
    let (from, limits, to) = (source.clone(), rules.clone(), out.clone());
    test.start(3, move |flow| {
        let amounts = flow.source("amounts", &from)?;
        let limits = flow.source("limits", &limits)?;
        let over = |limit: &u64, (key, amount): (u32, u64)| (amount > *limit).then_some((key, amount));
        amounts
            .key_by(|a| a.0)
            .broadcast_join("limit", limits.broadcast(|limit: &mut u64, new| *limit = new), over)?
            .sink("over", &to)
    });
    rules.push(0, 10);
    rules.push(50, 30);
    (0..40).for_each(|key| source.push(i64::from(key * 2), (key, u64::from(key))));
    test.crash(2);
    rules.watermark(1_000);
    source.watermark(1_000);
    // Until 50 ms the limit is 10; from then on, at keys of 25 and more, it is 30.
    let expected: Vec<(u32, u64)> = (11..25).chain(31..40).map(|key| (key, u64::from(key))).collect();
    assert_eq!(sorted(out.output()), expected);
    test.finish();
}
