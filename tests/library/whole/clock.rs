//! Windows and a throttle in processing time. The schedule decides what the clock shows when an operator sees a
//! record, so each record carries a clock reading from shortly before, and each result one from shortly after.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::testing::{TestSink, TestSource};
use tidemill::time::in_ms;

use super::{Script, grouped, scripts, world};
use testkit::script::{Event, cases, ms, sorted};

/// A length of time that no run of the program reaches.
const DAY_MS: i64 = 86_400_000;

/// A record, and the time on the clock before the operator saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Seen {
    id: u32,
    key: u8,
    came: i64,
}

/// A result, and the time on the clock after it was emitted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Emitted<T> {
    emitted: i64,
    what: T,
}

type Results = TestSink<Emitted<Windowed<u8, Vec<Seen>>>>;
type Passed = TestSink<Emitted<Seen>>;

/// The settings of the program under test.
#[derive(Clone, Copy, Debug)]
struct Settings {
    size_ms: i64,
    slide_ms: i64,
    overlap: i64,
    gap_ms: i64,
    rate: Rate,
}

fn settings() -> impl Strategy<Value = Settings> {
    let length = || prop_oneof![4 => 1..60_i64, 1 => Just(DAY_MS)];
    (length(), 1..30_i64, 1..5_i64, length(), 1..5_u64, length()).prop_map(
        |(size_ms, slide_ms, overlap, gap_ms, records, per_ms)| Settings {
            size_ms,
            slide_ms,
            overlap,
            gap_ms,
            rate: Rate { records, per: ms(per_ms), clock: TimeDomain::Processing },
        },
    )
}

/// The outputs of the program, one sink each.
#[derive(Clone)]
struct Sinks {
    tumbling: Results,
    sliding: Results,
    sessions: Results,
    late: TestSink<Seen>,
    passed: Passed,
    excess: Passed,
}

fn build(
    flow: &Flow<'_>,
    source: &TestSource<Event>,
    sinks: &Sinks,
    clock: &Clock,
    settings: Settings,
) -> Result<(), JobError> {
    let Settings { size_ms, slide_ms, overlap, gap_ms, rate } = settings;
    let before = clock.clone();
    let seen = move |event: Event| Seen { id: event.id, key: event.key, came: before.processing_time().0 };
    let events = flow.source("events", source)?.map(seen);
    let windows = |name: &str, assigner: Assigner, sink: &Results| {
        let windows = events.clone().key_by(|seen| seen.key).window(name, assigner).processing_time();
        let windows = windows.aggregate(full_window(|seen: &[Seen]| seen.to_vec()))?;
        let after = clock.clone();
        windows
            .results
            .map(move |what| Emitted { emitted: after.processing_time().0, what })
            .sink(&format!("{name}-out"), sink)?;
        Ok::<_, JobError>(windows.late)
    };
    windows("tumbling", Assigner::tumbling(ms(size_ms)), &sinks.tumbling)?
        .union(windows("sliding", Assigner::sliding(ms(slide_ms * overlap), ms(slide_ms)), &sinks.sliding)?)
        .union(windows("sessions", Assigner::session(ms(gap_ms)), &sinks.sessions)?)
        .sink("late", &sinks.late)?;
    let throttled = events.clone().key_by(|seen| seen.key).throttle("throttle", rate)?;
    for (name, stream, sink) in
        [("passed", throttled.results, &sinks.passed), ("excess", throttled.excess, &sinks.excess)]
    {
        let after = clock.clone();
        stream.map(move |what| Emitted { emitted: after.processing_time().0, what }).sink(name, sink)?;
    }
    Ok(())
}

/// Checks that each record is in `overlap` windows, that none of them had ended before the record arrived, and that
/// none begins after its result was emitted.
fn check_windows(
    script: &Script,
    results: Vec<Emitted<Windowed<u8, Vec<Seen>>>>,
    overlap: i64,
) -> Result<BTreeMap<u32, Vec<Window>>, TestCaseError> {
    let all = script.all();
    let last = results.iter().flat_map(|result| &result.what.value).map(|seen| seen.came).max();
    let (mut windows, mut emitted_of) = (BTreeMap::<u32, Vec<Window>>::new(), BTreeSet::new());
    for Emitted { emitted, what: Windowed { key, window, firing, value } } in results {
        prop_assert!(emitted_of.insert((key, window)), "{:?} of {} twice", window, key);
        prop_assert_eq!(firing, Firing::OnTime);
        // Only at the end of the input does a window fire before its end.
        prop_assert!(
            window.end.0 <= emitted || last.is_none_or(|last| last <= emitted),
            "{:?} emitted at {}",
            window,
            emitted
        );
        prop_assert!(window.start.0 <= emitted, "{:?} emitted at {}", window, emitted);
        prop_assert!(!value.is_empty());
        for seen in value {
            prop_assert_eq!((seen.key, all[seen.id as usize].key), (key, key));
            prop_assert!(seen.came < window.end.0, "{:?} in {:?}", seen, window);
            windows.entry(seen.id).or_default().push(window);
        }
    }
    prop_assert_eq!(windows.keys().copied().collect::<Vec<_>>(), (0..all.len() as u32).collect::<Vec<_>>());
    prop_assert!(windows.values().all(|windows| windows.len() as i64 == overlap), "{:?}", windows);
    Ok(windows)
}

fn check_fixed(script: &Script, sinks: &Sinks, settings: Settings) -> Result<(), TestCaseError> {
    let Settings { size_ms, slide_ms, overlap, .. } = settings;
    let tumbling = check_windows(script, sinks.tumbling.output(), 1)?;
    for window in tumbling.values().flatten() {
        prop_assert!(window.start.0 % size_ms == 0 && window.end.0 - window.start.0 == size_ms, "{:?}", window);
    }
    if size_ms == DAY_MS {
        let day = Window { start: EventTime(0), end: EventTime(DAY_MS) };
        prop_assert!(tumbling.values().flatten().all(|window| *window == day));
    }
    for (id, windows) in check_windows(script, sinks.sliding.output(), overlap)? {
        for (at, window) in (0..).zip(sorted(windows.clone())) {
            prop_assert!(window.start.0 % slide_ms == 0, "{} in {:?}", id, windows);
            prop_assert!(window.end.0 - window.start.0 == slide_ms * overlap, "{} in {:?}", id, windows);
            // The windows of a record follow each other without gaps, because one time is in all of them.
            let first = windows.iter().min().map(|first| first.start.0);
            prop_assert_eq!(first.map(|first| first + at * slide_ms), Some(window.start.0));
        }
    }
    Ok(())
}

fn check_sessions(script: &Script, sinks: &Sinks, gap_ms: i64) -> Result<(), TestCaseError> {
    let results = sinks.sessions.output();
    check_windows(script, results.clone(), 1)?;
    for (_, mut emitted) in grouped(results, |result| result.what.key) {
        emitted.sort_by_key(|result| result.what.window);
        for Emitted { emitted, what } in &emitted {
            let (start, last) = (what.window.start.0, what.window.end.0 - gap_ms);
            // The first record arrived when the session starts, and the last one a gap before it ends.
            let came = || what.value.iter().map(|seen| seen.came);
            prop_assert!(came().min().is_some_and(|first| first <= start), "{:?}", what);
            prop_assert!(
                came().max().is_some_and(|came| came <= last) && last <= *emitted,
                "{:?} at {}",
                what,
                emitted
            );
            prop_assert!(gap_ms < DAY_MS || (0..DAY_MS).contains(&start));
        }
        for pair in emitted.windows(2) {
            prop_assert!(pair[0].what.window.end <= pair[1].what.window.start, "{:?}", pair);
        }
        prop_assert!(gap_ms < DAY_MS || emitted.len() == 1, "{:?}", emitted);
    }
    Ok(())
}

/// Checks the throttle: each record passes or is in the excess, no more records pass than the rate allows, and a record
/// is in the excess only if that many have passed.
fn check_throttle(script: &Script, sinks: &Sinks, rate: Rate) -> Result<(), TestCaseError> {
    let (passed, excess) = (sinks.passed.output(), sinks.excess.output());
    let ids = passed.iter().chain(&excess).map(|emitted| emitted.what.id).collect();
    prop_assert_eq!(sorted(ids), (0..script.events.len() as u32).collect::<Vec<_>>());
    let per_ms = in_ms(rate.per);
    let (records, mut excess) = (rate.records as usize, grouped(excess, |emitted| emitted.what.key));
    for (key, passed) in grouped(passed, |emitted| emitted.what.key) {
        let excess = excess.remove(&key).unwrap_or_default();
        if per_ms == DAY_MS {
            prop_assert_eq!(passed.len(), records.min(passed.len() + excess.len()));
        }
        // At most `records` records pass in an interval. So twice as many and one more belong to at least three
        // intervals, and a whole interval lies between the first and the last of them. With one record per interval,
        // two records are enough, because an interval begins with its first record.
        let apart = if records == 1 { 1 } else { 2 * records };
        for far in passed.windows(apart + 1) {
            prop_assert!(far[apart].emitted - far[0].what.came >= per_ms, "{:?}", far);
        }
        for Emitted { emitted, what } in excess {
            let near = |other: &&Emitted<Seen>| other.what.came <= emitted && what.came - per_ms < other.emitted;
            prop_assert!(passed.iter().filter(near).count() >= records, "{:?} after {:?}", what, passed);
        }
    }
    prop_assert!(excess.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..cases(200) })]

    #[test]
    fn processing_time_windows_and_throttles_have_each_record_once(
        script in scripts(),
        settings in settings(),
        seed: u64,
        state_memory in prop::option::of(4_000..100_000_u64),
    ) {
        let mut sim = world(seed, state_memory);
        let (source, clock) = (sim.source(), sim.clock());
        let sinks = Sinks {
            tumbling: sim.sink(),
            sliding: sim.sink(),
            sessions: sim.sink(),
            late: sim.sink(),
            passed: sim.sink(),
            excess: sim.sink(),
        };
        script.feed(std::slice::from_ref(&source));
        let to = sinks.clone();
        sim.run(move |flow| build(flow, &source, &to, &clock, settings));
        check_fixed(&script, &sinks, settings)?;
        check_sessions(&script, &sinks, settings.gap_ms)?;
        check_throttle(&script, &sinks, settings.rate)?;
        prop_assert_eq!(sinks.late.output(), []);
    }
}
