//! Global, count and session windows, and deduplication, on one keyed stream.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::{TestSink, TestSource};

use super::{Script, grouped, scripts, world};
use crate::windows::{Ids, sessions_of};
use testkit::script::{Event, cases, ms, sorted};

type Results = TestSink<Windowed<u8, Vec<u32>>>;

/// The settings of the program under test.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// Number of records between two firings of the global window.
    emitted_every: u64,
    mode: AccumulationMode,
    /// Size of the count windows, in records.
    size: u64,
    every: u64,
    gap_ms: i64,
    horizon_ms: i64,
}

fn settings() -> impl Strategy<Value = Settings> {
    let mode = prop_oneof![
        Just(AccumulationMode::Accumulating),
        Just(AccumulationMode::Discarding),
        Just(AccumulationMode::Retracting)
    ];
    (1..6_u64, mode, 1..5_u64, 0..6_u64, 1..25_i64, 1..60_i64).prop_map(
        |(emitted_every, mode, every, more, gap_ms, horizon_ms)| Settings {
            emitted_every,
            mode,
            size: every + more,
            every,
            gap_ms,
            horizon_ms,
        },
    )
}

/// The outputs of the program, one sink each.
#[derive(Clone)]
struct Sinks {
    global: Results,
    counted: Results,
    sessions: Results,
    late: TestSink<Event>,
    emitted_again: Results,
    first: TestSink<Event>,
    duplicates: TestSink<Event>,
    never_late: TestSink<Event>,
}

fn build(flow: &Flow<'_>, source: &TestSource<Event>, sinks: &Sinks, settings: Settings) -> Result<(), JobError> {
    let Settings { emitted_every, mode, size, every, gap_ms, horizon_ms } = settings;
    let events = flow.source("events", source)?;
    let keyed = || events.clone().key_by(|event| event.key);
    let trigger = Trigger::on_watermark().every_records(emitted_every);
    let global = keyed().window("global", Assigner::Global).order(Order::EventTime).trigger(trigger).mode(mode);
    let global = global.aggregate(Ids)?;
    global.results.sink("global-out", &sinks.global)?;
    let counted = keyed().window("counted", Assigner::Count { size, every }).aggregate(Ids)?;
    counted.results.sink("counted-out", &sinks.counted)?;
    let sessions = keyed().window("sessions", Assigner::session(ms(gap_ms))).aggregate(Ids)?;
    sessions.results.sink("sessions-out", &sinks.sessions)?;
    sessions.late.sink("late", &sinks.late)?;
    // With this allowed lateness no record is late. Results that change are retracted.
    let emitted_again = keyed().window("emitted-again", Assigner::session(ms(gap_ms))).allowed_lateness(secs(1000));
    let emitted_again = emitted_again.mode(AccumulationMode::Retracting).aggregate(Ids)?;
    emitted_again.results.sink("emitted-again-out", &sinks.emitted_again)?;
    let unique = keyed().deduplicate("unique", ms(horizon_ms))?;
    unique.results.sink("first", &sinks.first)?;
    unique.duplicates.sink("duplicates", &sinks.duplicates)?;
    global.late.union(counted.late).union(emitted_again.late).sink("never-late", &sinks.never_late)
}

fn times(script: &[Event], ids: &[u32]) -> Vec<i64> {
    sorted(ids.iter().map(|id| script[*id as usize].time).collect())
}

/// Returns the results of each key, in the order in which they were emitted.
fn emitted(results: &Results) -> BTreeMap<u8, Vec<Windowed<u8, Vec<u32>>>> {
    grouped(results.output(), |result| result.key)
}

/// Returns the expected firings of the global window of a key with this number of records, each with the number of
/// records in its result.
fn firings(records: usize, every: usize, mode: AccumulationMode) -> Vec<(Firing, usize)> {
    let mut firings = Vec::new();
    for now in (every..=records).step_by(every) {
        if mode == AccumulationMode::Retracting && now > every {
            firings.push((Firing::Retraction, now - every));
        }
        firings.push((Firing::Early, if mode == AccumulationMode::Discarding { every } else { now }));
    }
    let rest = records % every;
    match mode {
        AccumulationMode::Accumulating => firings.push((Firing::OnTime, records)),
        _ if rest == 0 => {}
        AccumulationMode::Discarding => firings.push((Firing::OnTime, rest)),
        AccumulationMode::Retracting => {
            firings.extend((records > rest).then_some((Firing::Retraction, records - rest)));
            firings.push((Firing::OnTime, records));
        }
    }
    firings
}

/// Checks the global window of each key: its first result has the first records of the key, and each later one has more
/// of them.
fn check_global(script: &Script, exact: bool, results: &Results, settings: Settings) -> Result<(), TestCaseError> {
    let (all, mut emitted) = (script.all(), emitted(results));
    for (key, events) in script.by_key() {
        let emitted = emitted.remove(&key).unwrap_or_default();
        let sizes: Vec<(Firing, usize)> = emitted.iter().map(|w| (w.firing, w.value.len())).collect();
        prop_assert_eq!(&sizes, &firings(events.len(), settings.emitted_every as usize, settings.mode));
        let mut before: Vec<u32> = Vec::new();
        for result in emitted {
            prop_assert_eq!((result.key, result.window), (key, Window::ALL));
            if result.firing == Firing::Retraction {
                prop_assert_eq!(&result.value, &before);
                continue;
            }
            if settings.mode == AccumulationMode::Discarding {
                before.extend(&result.value);
            } else {
                prop_assert!(
                    before.iter().all(|id| result.value.contains(id)),
                    "{:?} lacks some of {:?}",
                    result,
                    before
                );
                before = result.value;
            }
            if exact {
                let first: Vec<i64> = events[..before.len()].iter().map(|event| event.time).collect();
                prop_assert_eq!(times(&all, &before), first);
            }
        }
        let expected: Vec<u32> = sorted(events.iter().map(|event| event.id).collect());
        let is_whole = before.len() == expected.len();
        prop_assert!(is_whole && sorted(before.clone()) == expected, "{:?} of {:?}", before, expected);
    }
    prop_assert!(emitted.is_empty());
    Ok(())
}

/// Checks the count windows: each is full, neighbours share the right number of records, and only the last records of a
/// key are in no window.
fn check_counted(script: &Script, exact: bool, results: &Results, settings: Settings) -> Result<(), TestCaseError> {
    let (size, every) = (settings.size as usize, settings.every as usize);
    let (all, mut emitted) = (script.all(), emitted(results));
    for (key, events) in script.by_key() {
        let emitted = emitted.remove(&key).unwrap_or_default();
        let expected: Vec<&[Event]> = events.windows(size).step_by(every).collect();
        prop_assert_eq!(emitted.len(), expected.len());
        for (result, expected) in emitted.iter().zip(expected) {
            let times = times(&all, &result.value);
            prop_assert_eq!(result.value.iter().collect::<BTreeSet<_>>().len(), size);
            prop_assert!(result.value.iter().all(|id| all[*id as usize].key == key) && result.firing == Firing::OnTime);
            let bounds = Window { start: EventTime(times[0]), end: EventTime(times[size - 1]).plus_ms(1) };
            prop_assert_eq!(result.window, bounds);
            if exact {
                prop_assert_eq!(times, expected.iter().map(|event| event.time).collect::<Vec<_>>());
            }
        }
        for (at, one) in emitted.iter().enumerate() {
            for (after, other) in emitted[at + 1..].iter().enumerate() {
                let shared = one.value.iter().filter(|id| other.value.contains(id)).count();
                prop_assert_eq!(shared, size.saturating_sub(every * (after + 1)), "of {:?} and {:?}", one, other);
            }
        }
    }
    prop_assert!(emitted.is_empty());
    Ok(())
}

fn all_sessions(script: &Script, settings: Settings) -> Vec<(u8, Window, Vec<u32>)> {
    let of_key = |(key, events): (u8, Vec<Event>)| {
        let events = events.iter().map(|event| (event.time, event.id)).collect();
        sessions_of(&events, settings.gap_ms).into_iter().map(move |(window, ids)| (key, window, ids))
    };
    script.by_key().into_iter().flat_map(of_key).collect()
}

/// Checks the sessions: each record is in one session or late, and two records on time within the gap are in the same
/// session.
fn check_sessions(
    script: &Script,
    may_be_late: &BTreeSet<u32>,
    sinks: &Sinks,
    settings: Settings,
) -> Result<(), TestCaseError> {
    let all = script.all();
    let (results, late) = (sinks.sessions.output(), sinks.late.output());
    let late: Vec<u32> = late.iter().map(|event| event.id).collect();
    prop_assert!(late.iter().all(|id| may_be_late.contains(id)), "{:?} of {:?}", late, may_be_late);
    let ids = results.iter().flat_map(|result| &result.value).chain(&late).copied();
    prop_assert_eq!(sorted(ids.collect()), (0..all.len() as u32).collect::<Vec<_>>());
    let mut session_of = BTreeMap::new();
    for (number, result) in results.iter().enumerate() {
        let inside: BTreeSet<(i64, u32)> = result.value.iter().map(|id| (all[*id as usize].time, *id)).collect();
        prop_assert_eq!(result.firing, Firing::OnTime);
        prop_assert!(result.value.iter().all(|id| all[*id as usize].key == result.key));
        prop_assert_eq!(sessions_of(&inside, settings.gap_ms), [(result.window, result.value.clone())]);
        session_of.extend(result.value.iter().map(|id| (*id, number)));
    }
    if may_be_late.is_empty() {
        let found = results.into_iter().map(|result| (result.key, result.window, result.value)).collect();
        prop_assert_eq!(sorted(found), all_sessions(script, settings));
    }
    for (_, events) in script.by_key() {
        let on_time: Vec<Event> = events.into_iter().filter(|event| !may_be_late.contains(&event.id)).collect();
        for pair in on_time.windows(2) {
            if pair[1].time < pair[0].time.saturating_add(settings.gap_ms) {
                prop_assert_eq!(session_of[&pair[0].id], session_of[&pair[1].id], "{:?}", pair);
            }
        }
    }
    Ok(())
}

/// Checks that the results without the retracted ones are the sessions of all records, whatever their order of arrival.
fn check_emitted_again(script: &Script, results: &Results, settings: Settings) -> Result<(), TestCaseError> {
    let mut net = BTreeMap::<(u8, Window, Vec<u32>), i32>::new();
    for Windowed { key, window, firing, value } in results.output() {
        *net.entry((key, window, value)).or_default() += if firing == Firing::Retraction { -1 } else { 1 };
    }
    net.retain(|_, times| *times != 0);
    prop_assert_eq!(net, all_sessions(script, settings).into_iter().map(|session| (session, 1)).collect());
    Ok(())
}

/// Checks the deduplication: each record passes or is a duplicate of one that does, and records on time that pass are
/// at least the horizon apart.
fn check_unique(
    script: &Script,
    may_be_late: &BTreeSet<u32>,
    sinks: &Sinks,
    settings: Settings,
) -> Result<(), TestCaseError> {
    let (first, duplicates) = (sinks.first.output(), sinks.duplicates.output());
    prop_assert_eq!(sorted(first.iter().chain(&duplicates).copied().collect()), script.all());
    let horizon = settings.horizon_ms.unsigned_abs();
    let near = |one: &Event, other: &Event| one.key == other.key && one.time.abs_diff(other.time) < horizon;
    for duplicate in &duplicates {
        prop_assert!(first.iter().any(|event| near(event, duplicate)), "{:?} of {:?}", duplicate, first);
    }
    if may_be_late.is_empty() {
        let mut expected = Vec::<(u8, i64)>::new();
        for (key, events) in script.by_key() {
            let passes = |last: Option<&(u8, i64)>, event: &Event| {
                last.is_none_or(|(of, at)| *of != key || at.abs_diff(event.time) >= horizon)
            };
            events.iter().for_each(|event| {
                if passes(expected.last(), event) {
                    expected.push((key, event.time))
                }
            });
        }
        prop_assert_eq!(sorted(first.iter().map(|event| (event.key, event.time)).collect()), expected);
    }
    let on_time: Vec<&Event> = first.iter().filter(|event| !may_be_late.contains(&event.id)).collect();
    for (at, event) in on_time.iter().enumerate() {
        let again = on_time[at + 1..].iter().find(|other| near(event, other));
        prop_assert!(again.is_none(), "{:?} and {:?}", event, again);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..cases(200) })]

    #[test]
    fn global_count_and_session_windows_equal_a_loop(
        script in scripts(),
        settings in settings(),
        seed: u64,
        state_memory in prop::option::of(4_000..100_000_u64),
    ) {
        let mut sim = world(seed, state_memory);
        let source = sim.source();
        let sinks = Sinks {
            global: sim.sink(),
            counted: sim.sink(),
            sessions: sim.sink(),
            late: sim.sink(),
            emitted_again: sim.sink(),
            first: sim.sink(),
            duplicates: sim.sink(),
            never_late: sim.sink(),
        };
        let may_be_late = script.feed(std::slice::from_ref(&source));
        let to = sinks.clone();
        sim.run(move |flow| build(flow, &source, &to, settings));
        let exact = may_be_late.is_empty();
        check_global(&script, exact, &sinks.global, settings)?;
        check_counted(&script, exact, &sinks.counted, settings)?;
        check_sessions(&script, &may_be_late, &sinks, settings)?;
        check_emitted_again(&script, &sinks.emitted_again, settings)?;
        check_unique(&script, &may_be_late, &sinks, settings)?;
        prop_assert_eq!(sinks.never_late.output(), []);
    }
}
