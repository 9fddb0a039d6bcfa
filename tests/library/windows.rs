//! Windows of all kinds, compared with lists of the records of each window.

mod naive;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemill::prelude::*;
use tidemill::testing::LogicTest;
use tidemill::window::{WindowLogic, WindowSpec};

use naive::{Emits, Emitted};
pub use naive::{Naive, windows_of};
use sessions::Sessions;
pub use sessions::sessions_of;
use testkit::script::{Event, Step, cases, from_the_ends, ms, play, play_freed, sorted, steps};

/// An aggregate that collects the ids of a window's records, so that a missing or repeated record shows.
pub struct Ids;

impl Aggregate for Ids {
    type In = Event;
    type Accumulator = Vec<u32>;
    type Out = Vec<u32>;

    fn empty(&self) -> Vec<u32> {
        Vec::new()
    }
    fn add(&self, ids: &mut Vec<u32>, event: &Event) {
        ids.push(event.id);
    }
    fn merge(&self, into: &mut Vec<u32>, other: &Vec<u32>) {
        into.extend(other);
    }
    fn finish(&self, ids: &Vec<u32>) -> Vec<u32> {
        sorted(ids.clone())
    }
}

/// Runs the operator, compares its output with the oracle's, and checks that no state is left behind the last
/// watermark.
fn check(steps: &[Step], spec: WindowSpec, expected: Naive) -> Result<(), TestCaseError> {
    let mut test =
        LogicTest::new(Order::Arrival, |event: &Event| event.key, move |states| WindowLogic::open(states, spec, Ids));
    play_freed(&mut test, steps, 500, |event| event)?;
    let emitted: Vec<Emitted> = test.output().into_iter().map(|w| (w.key, w.window, w.firing, w.value)).collect();
    for key in 0..3 {
        let of_key: Vec<&Emitted> = emitted.iter().filter(|emitted| emitted.0 == key).collect();
        taken_back_in_order(&of_key, spec)?;
    }
    prop_assert_eq!(sorted(emitted), sorted(expected.emitted));
    prop_assert_eq!(sorted(test.side().iter().map(|event| event.id).collect()), sorted(expected.late));
    prop_assert_eq!(test.state_bytes(), 0, "state is left");
    Ok(())
}

/// Checks the results of one key in the order in which they were emitted: a result that replaces an earlier one of its
/// window comes directly after the retraction of that one. Only a session may be retracted without a result for the
/// same window: it has grown, and its next result is for a window that contains the retracted one.
fn taken_back_in_order(emitted: &[&Emitted], spec: WindowSpec) -> Result<(), TestCaseError> {
    let (mut standing, mut grown) = (BTreeMap::<Window, &Vec<u32>>::new(), Vec::<Window>::new());
    for (at, (_, window, firing, value)) in emitted.iter().enumerate() {
        if *firing == Firing::Retraction {
            prop_assert_eq!(standing.remove(window), Some(value), "what does not stand is taken back");
            let replaced = emitted.get(at + 1).is_some_and(|next| next.1 == *window && next.2 != Firing::Retraction);
            if !replaced {
                prop_assert!(matches!(spec.assigner, Assigner::Session { .. }), "nothing follows");
                grown.push(*window);
            }
        } else if spec.mode == AccumulationMode::Retracting {
            prop_assert!(!grown.contains(window), "emitted of what has grown");
            prop_assert_eq!(standing.insert(*window, value), None, "emitted twice, and not taken back");
            grown.retain(|inner| inner.start < window.start || window.end < inner.end);
        }
    }
    prop_assert_eq!(grown, [], "nothing took their place");
    Ok(())
}

fn emits() -> impl Strategy<Value = Emits> {
    let clock = prop_oneof![3 => Just(TimeDomain::Event), 1 => Just(TimeDomain::Processing)];
    let parts = (prop::option::of((3..25i64, clock)), prop::option::of(1..4_usize), any::<bool>());
    parts.prop_map(|(early, records, late_at_end)| Emits { early, records, late_at_end })
}

fn modes() -> impl Strategy<Value = AccumulationMode> {
    prop_oneof![
        Just(AccumulationMode::Accumulating),
        Just(AccumulationMode::Discarding),
        Just(AccumulationMode::Retracting)
    ]
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn tumbling(steps in steps(), size in 1..70i64, offset in -80..80i64, lateness in prop_oneof![Just(0), 1..60i64]) {
        let assigner = Assigner::tumbling(ms(size)).offset(ms(offset.rem_euclid(size)));
        let spec = WindowSpec { allowed_lateness: ms(lateness), ..WindowSpec::new(assigner) };
        check(&steps, spec, Naive::fixed(&steps, assigner, lateness))?;
    }

    #[test]
    fn sliding(
        steps in steps(), slide in 1..30i64, more in 0..90i64, offset in -80..80i64,
        lateness in prop_oneof![Just(0), 1..60i64],
    ) {
        let assigner = Assigner::sliding(ms(slide + more), ms(slide)).offset(ms(offset.rem_euclid(slide)));
        let spec = WindowSpec { allowed_lateness: ms(lateness), ..WindowSpec::new(assigner) };
        let near_the_end = |step: &Step| matches!(step, Step::Event(event) if event.time > i64::MAX - 200);
        if !steps.iter().any(near_the_end) {
            return check(&steps, spec, Naive::fixed(&steps, assigner, lateness));
        }
        // Sliding windows that would end after the end of time are emitted as one, and no record is lost.
        let mut test = LogicTest::new(Order::Arrival, |e: &Event| e.key, move |s| WindowLogic::open(s, spec, Ids));
        play(&mut test, &steps, |event| event);
        let emitted: BTreeSet<u32> = test.output().into_iter().flat_map(|window| window.value).collect();
        let late: BTreeSet<u32> = test.side().iter().map(|event| event.id).collect();
        let all = |id: &u32| emitted.contains(id) != late.contains(id);
        prop_assert!(steps.iter().all(|step| !matches!(step, Step::Event(event) if !all(&event.id))));
        prop_assert_eq!(test.state_bytes(), 0);
    }

    #[test]
    fn sessions(steps in steps(), gap in 1..25i64, lateness in prop_oneof![Just(0), 1..60i64]) {
        let spec = WindowSpec { allowed_lateness: ms(lateness), ..WindowSpec::new(Assigner::session(ms(gap))) };
        check(&steps, spec, Sessions::emitted(&steps, spec, Emits::default()))?;
    }

    // Times at the limits of event time are left to the tests above: there, windows would fire early and on time at
    // once.
    #[test]
    fn triggers_and_modes(
        steps in steps(), slide in 5..30i64, more in 0..40i64, lateness in prop_oneof![Just(0), 1..60i64],
        emits in emits(), mode in modes(),
    ) {
        let steps = from_the_ends(steps);
        let assigner = if more == 0 { Assigner::tumbling(ms(slide)) } else { Assigner::sliding(ms(slide + more), ms(slide)) };
        let trigger = emits.trigger();
        let spec = WindowSpec { allowed_lateness: ms(lateness), trigger, mode, ..WindowSpec::new(assigner) };
        check(&steps, spec, Naive::triggered(&steps, spec, emits))?;
    }

    #[test]
    fn triggers_and_modes_of_sessions(
        steps in steps(), gap in 1..25i64, lateness in prop_oneof![Just(0), 1..60i64], emits in emits(), mode in modes(),
    ) {
        let steps = from_the_ends(steps);
        let trigger = emits.trigger();
        let spec = WindowSpec { allowed_lateness: ms(lateness), trigger, mode, ..WindowSpec::new(Assigner::session(ms(gap))) };
        check(&steps, spec, Sessions::emitted(&steps, spec, emits))?;
    }

    #[test]
    fn count_windows(steps in steps(), every in 1..5u64, more in 0..6u64) {
        let size = every + more;
        let spec = WindowSpec::new(Assigner::Count { size, every });
        let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, Ids);
        let mut test = LogicTest::new(Order::EventTime, |event: &Event| event.key, open);
        play(&mut test, &steps, |event| event);
        let mut by_key: BTreeMap<u8, Vec<Event>> = BTreeMap::new();
        testkit::script::seen(&steps, |_| false).iter().for_each(|(e, ..)| by_key.entry(e.key).or_default().push(*e));
        // Only windows that are not full yet may leave state.
        let is_over = by_key.values().all(|events| (events.len() as u64).is_multiple_of(size));
        prop_assert!(more > 0 || (test.state_bytes() == 0) == is_over);
        let mut expected = Vec::new();
        for (key, events) in by_key {
            for window in events.windows(size as usize).step_by(every as usize) {
                let times = || window.iter().map(|event| EventTime(event.time));
                let bounds = Window { start: times().min().unwrap(), end: times().max().unwrap().plus_ms(1) };
                expected.push((key, bounds, Firing::OnTime, sorted(window.iter().map(|e| e.id).collect())));
            }
        }
        let emitted = |w: Windowed<u8, Vec<u32>>| (w.key, w.window, w.firing, w.value);
        prop_assert_eq!(sorted(test.output().into_iter().map(emitted).collect()), sorted(expected));
    }

    #[test]
    fn aggregates_of_sliding_windows(steps in steps(), slide in 1..30i64, more in 0..60i64) {
        let spec = WindowSpec::new(Assigner::sliding(ms(slide + more), ms(slide)));
        let sketches = || {
            (distinct_of(|e: &Event| (e.value, e.id % 2)), quantiles_of(&[0.0, 0.5, 1.0], |e: &Event| f64::from(e.value)))
        };
        let best = || top_n(3, |event: &Event| (event.value, event.id));
        let key = |event: &Event| event.key;
        // Accumulators that grow with each record and those of fixed size are handled differently in shared slices.
        let mut whole = LogicTest::new(Order::Arrival, key, move |s| WindowLogic::open(s, spec, full_window(|e: &[Event]| sorted(e.to_vec()))));
        let mut parts = LogicTest::new(Order::Arrival, key, move |s| WindowLogic::open(s, spec, ((counting(), best()), sketches())));
        play(&mut whole, &steps, |event| event);
        play(&mut parts, &steps, |event| event);
        let whole: BTreeMap<(u8, Window), Vec<Event>> = whole.output().into_iter().map(|w| ((w.key, w.window), w.value)).collect();
        let parts = parts.output();
        prop_assert_eq!(whole.len(), parts.len());
        for Windowed { key, window, value: ((count, best), (distinct, quantiles)), .. } in parts {
            let events = &whole[&(key, window)];
            prop_assert_eq!(count, events.len() as u64);
            let mut by_score: Vec<Event> = events.clone();
            by_score.sort_by_key(|event| std::cmp::Reverse((event.value, event.id)));
            by_score.truncate(3);
            prop_assert_eq!(best, by_score);
            let different: BTreeSet<(i32, u32)> = events.iter().map(|e| (e.value, e.id % 2)).collect();
            prop_assert_eq!(distinct, different.len() as u64, "few are counted exactly");
            let mut values: Vec<f64> = events.iter().map(|e| f64::from(e.value)).collect();
            values.sort_by(f64::total_cmp);
            let middle = (values.len() - 1) / 2;
            prop_assert_eq!(quantiles.count, count);
            for (found, exact) in quantiles.values.iter().zip([values[0], values[middle], values[values.len() - 1]]) {
                prop_assert!((found - exact).abs() <= 0.011 * exact.abs(), "{} for {}", found, exact);
            }
        }
    }
}

#[test]
fn sketches_stay_within_what_they_promise() {
    let (distinct, quantiles) =
        (distinct_of(|n: &u64| *n % 50_000), quantiles_of(&[0.01, 0.5, 0.99], |n: &u64| *n as f64));
    let (mut parts, mut values) = (Vec::new(), quantiles.empty());
    for part in 0..10_u64 {
        let mut own = distinct.empty();
        (part * 10_000..(part + 1) * 10_000).for_each(|n| distinct.add(&mut own, &n));
        (part * 10_000..(part + 1) * 10_000).for_each(|n| quantiles.add(&mut values, &n));
        parts.push(own);
    }
    let mut all = distinct.empty();
    parts.iter().for_each(|part| distinct.merge(&mut all, part));
    let estimate = distinct.finish(&all) as f64;
    assert!((estimate - 50_000.0).abs() < 0.05 * 50_000.0, "{estimate}");
    for (found, exact) in quantiles.finish(&values).values.iter().zip([1_000.0, 50_000.0, 99_000.0]) {
        assert!((found - exact).abs() < 0.02 * exact, "{found} for {exact}");
    }
}

#[test]
fn windows_of_the_wall_clock_end_by_it_and_with_the_input() {
    let spec = WindowSpec { clock: TimeDomain::Processing, ..WindowSpec::new(Assigner::tumbling(millis(100))) };
    for spec in [spec, WindowSpec { assigner: Assigner::sliding(millis(100), millis(100)), ..spec }] {
        let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, counting());
        let mut test = LogicTest::new(Order::Arrival, |n: &u8| *n % 2, open);
        test.push(5_000, 1);
        test.clock(ProcessingTime(99));
        test.push(3, 3);
        test.watermark(10_000);
        assert!(test.output().is_empty(), "event time does not matter");
        test.crash(2);
        test.clock(ProcessingTime(100));
        test.push(1, 5);
        assert_eq!(test.output().iter().map(|w| (w.window.end.0, w.value)).collect::<Vec<_>>(), [(100, 2)]);
        test.finish();
        assert_eq!(test.output().iter().map(|w| (w.window.end.0, w.value)).collect::<Vec<_>>(), [(200, 1)]);
    }
}

#[test]
fn a_global_window_emits_by_its_trigger_and_at_the_end() {
    let trigger = Trigger::on_watermark().every_records(2).early_every(minutes(1), TimeDomain::Processing);
    let spec = WindowSpec { trigger, ..WindowSpec::new(Assigner::Global) };
    let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, counting());
    let mut test = LogicTest::new(Order::Arrival, |_: &u8| 0_u8, open);
    (0..5).for_each(|n| test.push(i64::MAX - 10 + n, 0));
    test.crash(3);
    assert_eq!(
        test.output().iter().map(|w| (w.firing, w.value)).collect::<Vec<_>>(),
        [(Firing::Early, 2), (Firing::Early, 4)]
    );
    test.clock(ProcessingTime(59_999));
    assert!(test.output().is_empty());
    test.clock(ProcessingTime(60_000));
    assert_eq!(test.output().iter().map(|w| (w.firing, w.value)).collect::<Vec<_>>(), [(Firing::Early, 5)]);
    test.finish();
    assert_eq!(test.output().iter().map(|w| (w.firing, w.value)).collect::<Vec<_>>(), [(Firing::OnTime, 5)]);
}

#[test]
fn records_exactly_the_gap_apart_are_in_two_sessions_at_any_watermark() {
    let ends = |order: Order, lateness: i64, watermark: i64, second: i64| {
        let spec = WindowSpec { allowed_lateness: ms(lateness), ..WindowSpec::new(Assigner::session(millis(10))) };
        let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, counting());
        let mut test = LogicTest::new(order, |_: &u8| 0_u8, open);
        test.push(0, 0);
        test.watermark(watermark);
        test.push(second, 0);
        test.finish();
        test.output().iter().map(|w| (w.window.start.0, w.window.end.0, w.value)).collect::<Vec<_>>()
    };
    for order in [Order::Arrival, Order::EventTime] {
        for (lateness, watermark) in [(0, 9), (0, 10), (1, 9), (1, 10)] {
            assert_eq!(ends(order, lateness, watermark, 10), [(0, 10, 1), (10, 20, 1)], "{order:?}");
        }
        assert_eq!(ends(order, 0, 9, 9), [(0, 19, 2)], "{order:?}");
    }
}

/// The days in Vienna around both clock changes of 2025 have 23 and 25 hours.
#[test]
fn days_of_a_time_zone_are_as_long_as_they_are() {
    const HOUR: i64 = 3_600_000;
    for (first_midnight, hours) in [(1_743_202_800_000, [24, 23, 24]), (1_761_343_200_000, [24, 25, 24])] {
        let spec = WindowSpec { allowed_lateness: minutes(60), ..WindowSpec::new(Assigner::days("Europe/Vienna")) };
        let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, counting());
        let mut test = LogicTest::new(Order::Arrival, |_: &i64| 0, open);
        let all = hours.iter().sum::<i64>();
        (0..all).for_each(|hour| test.push(first_midnight + hour * HOUR, hour));
        test.crash(2);
        test.watermark(first_midnight + all * HOUR);
        let emitted: Vec<_> = test.output().into_iter().map(|w| (w.window.start.0, w.window.end.0, w.value)).collect();
        let mut start = first_midnight;
        let expected = hours.map(|hours| {
            start += hours * HOUR;
            (start - hours * HOUR, start, hours as u64)
        });
        assert_eq!(emitted, expected);
        test.push(first_midnight + (all - 1) * HOUR, 0);
        assert_eq!(test.output().iter().map(|w| (w.firing, w.value)).collect::<Vec<_>>(), [(Firing::Late, 25)]);
        test.push(first_midnight, 1);
        assert_eq!(test.side(), [1]);
    }
}

#[test]
fn a_time_zone_that_is_not_known_is_refused_when_the_program_is_built() {
    let open = |states: &mut States<'_, u8>| {
        WindowLogic::open(states, WindowSpec::new(Assigner::weeks("Mars/Olympus")), counting::<i64>())
    };
    let test = LogicTest::new(
        Order::Arrival,
        |_: &i64| 0,
        |states| WindowLogic::open(states, WindowSpec::new(Assigner::weeks("UTC")), counting::<i64>()),
    );
    let error = test.upgrade(1, open).err().unwrap().report();
    assert!(error.contains("no time zone \"Mars/Olympus\"") && error.contains("Europe/Vienna"), "{error}");
}

/// Nested windows of one and of three seconds. Times in the first second of every ten have no window.
struct Nested;

impl WindowAssigner for Nested {
    fn assign(&self, time: EventTime, found: &mut dyn FnMut(Window)) {
        if time.0.rem_euclid(10_000) < 1_000 {
            return;
        }
        for length in [3_000, 1_000] {
            let start = EventTime(time.0.div_euclid(length) * length);
            found(Window { start, end: start.plus_ms(length) });
        }
    }

    fn parameters(&self) -> String {
        "one and three seconds".to_owned()
    }
}

/// A faulty assigner, whose windows do not contain the times for which it returns them.
struct Wrong;

impl WindowAssigner for Wrong {
    fn assign(&self, time: EventTime, found: &mut dyn FnMut(Window)) {
        found(Window { start: time.plus_ms(1), end: time.plus_ms(5) });
    }

    fn parameters(&self) -> String {
        "tomorrow".to_owned()
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn custom_windows_contain_their_records(
        times in prop::collection::vec(0..30_000_i64, 1..60),
        lateness in prop::sample::select(&[0_i64, 2_000][..]),
        workers in 1..4_usize,
    ) {
        let spec = WindowSpec { allowed_lateness: ms(lateness), ..WindowSpec::new(Nested.into()) };
        let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, counting());
        let mut test = LogicTest::new(Order::Arrival, |_: &i64| 0, open);
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let (mut last, mut emitted) = (0, BTreeMap::new());
        for time in &sorted {
            test.push(*time, *time);
            if *time / 2_000 > last {
                last = *time / 2_000;
                test.watermark(*time);
                // Each window fires as soon as it ends, including one that lies within a window that is still open.
                for window in test.output() {
                    prop_assert!(window.window.end.0 <= *time);
                    emitted.insert((window.window.start.0, window.window.end.0), window.value);
                }
                test.crash(workers);
            }
        }
        test.finish();
        emitted.extend(test.output().into_iter().map(|w| ((w.window.start.0, w.window.end.0), w.value)));
        let mut expected = BTreeMap::new();
        let (none, some): (Vec<i64>, Vec<i64>) = sorted.iter().copied().partition(|time| *time % 10_000 < 1_000);
        for time in some {
            for length in [1_000, 3_000] {
                let start = time / length * length;
                *expected.entry((start, start + length)).or_insert(0) += 1_u64;
            }
        }
        prop_assert_eq!(emitted, expected);
        prop_assert_eq!(test.side(), none);
        prop_assert_eq!(test.state_bytes(), 0);
    }
}

#[test]
fn a_record_outside_its_window_is_a_dead_letter() {
    let spec = WindowSpec::new(Wrong.into());
    let mut test =
        LogicTest::new(Order::Arrival, |_: &i64| 0, move |states| WindowLogic::open(states, spec, counting::<i64>()));
    test.push(7, 7);
    test.finish();
    assert!(test.output().is_empty() && test.side().is_empty());
    let letters = test.dead_letters();
    assert!(letters.len() == 1 && letters[0].reason.contains("(tomorrow)"), "{letters:?}");
}
