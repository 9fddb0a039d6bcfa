//! Deduplication, throttling and patterns, compared with plain loops.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemill::deduplicate::DeduplicateLogic;
use tidemill::pattern::PatternLogic;
use tidemill::prelude::*;
use tidemill::testing::LogicTest;
use tidemill::throttle::ThrottleLogic;

use testkit::script::{Event, cases, ms, play, seen, sorted, steps};

fn numbers(events: Vec<Event>) -> Vec<u32> {
    sorted(events.into_iter().map(|event| event.id).collect())
}

/// Returns all matches that begin with value 1: the first 2 after it within the time and, if `unless_three`, without a
/// 3 between them.
pub fn one_then_two(events: &[Event], within: i64, unless_three: bool) -> Vec<Vec<u32>> {
    let mut matches = Vec::new();
    for (at, first) in events.iter().enumerate().filter(|(_, event)| event.value == 1) {
        let after = events[at + 1..].iter().filter(|event| event.key == first.key);
        let mut after = after.take_while(|event| event.time <= first.time.saturating_add(within));
        let next = after.find(|event| event.value == 2 || (unless_three && event.value == 3));
        matches.extend(next.filter(|event| event.value == 2).map(|second| vec![first.id, second.id]));
    }
    sorted(matches)
}

/// Returns all matches of a 1, then a number of at least 2, then −1 or −3 without a 0 before it, all within the time.
/// If `alone`, a match must not be followed by another number of at least 2 within the time.
fn three_steps(events: &[Event], within: i64, alone: bool) -> Vec<Vec<u32>> {
    let mut matches = Vec::new();
    for (at, first) in events.iter().enumerate().filter(|(_, event)| event.value == 1) {
        let last = first.time.saturating_add(within);
        let after = events[at + 1..].iter().filter(|event| event.key == first.key && event.time <= last);
        let after: Vec<&Event> = after.collect();
        let Some(second) = after.iter().position(|event| event.value >= 2) else { continue };
        let mut rest = after[second + 1..].iter();
        let third = rest.find(|event| [-3, -1, 0].contains(&event.value)).filter(|event| event.value != 0);
        let is_answered = rest.any(|event| event.value >= 2);
        if !(alone && is_answered) {
            matches.extend(third.map(|third| vec![first.id, after[second].id, third.id]));
        }
    }
    sorted(matches)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn deduplicate(steps in steps(), horizon in 1..60i64) {
        let open = move |states: &mut States<'_, u8>| DeduplicateLogic::open(states, ms(horizon));
        let mut test = LogicTest::new(Order::EventTime, |event: &Event| event.key, open);
        testkit::script::play_freed(&mut test, &steps, 100, |event| event)?;
        let (mut passed, mut first, mut duplicates) = (BTreeMap::<u8, i64>::new(), Vec::new(), Vec::new());
        for (event, watermark, _) in seen(&steps, |_| false) {
            let last = passed.get(&event.key).copied().filter(|last| last.saturating_add(horizon) > watermark);
            if last.is_some_and(|last| (i128::from(last) - i128::from(event.time)).abs() < i128::from(horizon)) {
                duplicates.push(event.id);
            } else {
                first.push(event.id);
                passed.insert(event.key, last.map_or(event.time, |last| last.max(event.time)));
            }
        }
        prop_assert_eq!(numbers(test.output()), sorted(first));
        prop_assert_eq!(numbers(test.side()), sorted(duplicates));
    }

    #[test]
    fn throttle(steps in steps(), records in 1..4u64, per_ms in 1..60i64) {
        let rate = Rate { records, per: ms(per_ms), clock: TimeDomain::Event };
        let open = move |states: &mut States<'_, u8>| ThrottleLogic::open(states, rate);
        let mut test = LogicTest::new(Order::EventTime, |event: &Event| event.key, open);
        play(&mut test, &steps, |event| event);
        let (mut running, mut passed, mut excess) = (BTreeMap::<u8, (i64, u64)>::new(), Vec::new(), Vec::new());
        for (event, watermark, _) in seen(&steps, |_| false) {
            let now = event.time.max(watermark);
            let window = running.entry(event.key).or_insert((event.time, 0));
            // The second condition differs only at the end of time: an interval that would end after it ends there.
            if now.saturating_sub(window.0) >= per_ms || window.0.saturating_add(per_ms) <= watermark {
                *window = (event.time, 0);
            }
            window.1 += 1;
            if window.1 <= records { passed.push(event.id) } else { excess.push(event.id) }
        }
        prop_assert_eq!(numbers(test.output()), sorted(passed));
        prop_assert_eq!(numbers(test.side()), sorted(excess));
    }

    #[test]
    fn followed_by(steps in steps(), within in 0..60i64, unless: bool) {
        let pattern = move || {
            let begin = Pattern::begin(ms(within), |event: &Event| event.value == 1);
            let (two, three) = (|event: &Event| event.value == 2, |event: &Event| event.value == 3);
            if unless { begin.followed_by_unless(two, three) } else { begin.followed_by(two) }
        };
        let open = move |states: &mut States<'_, u8>| PatternLogic::open(states, pattern());
        let mut test = LogicTest::new(Order::EventTime, |event: &Event| event.key, open);
        play(&mut test, &steps, |event| event);
        let seen = seen(&steps, |_| false);
        let on_time: Vec<Event> = seen.iter().filter(|(_, _, late)| !late).map(|(event, ..)| *event).collect();
        let found = test.output().into_iter().map(|records| records.iter().map(|e| e.id).collect::<Vec<_>>()).collect();
        prop_assert_eq!(sorted(found), one_then_two(&on_time, within, unless));
        let late = seen.iter().filter(|(_, _, late)| *late).map(|(event, ..)| event.id).collect();
        prop_assert_eq!(numbers(test.side()), sorted(late));
        prop_assert_eq!(test.state_bytes(), 0);
    }

    #[test]
    fn never_followed_by(steps in steps(), within in 0..60i64) {
        let pattern = move || {
            Pattern::begin(ms(within), |event: &Event| event.value == 1).never_followed_by(|event| event.value == 2)
        };
        let open = move |states: &mut States<'_, u8>| PatternLogic::open(states, pattern());
        let mut test = LogicTest::new(Order::EventTime, |event: &Event| event.key, open);
        play(&mut test, &steps, |event| event);
        let on_time: Vec<Event> = seen(&steps, |_| false).iter().filter(|(_, _, late)| !late).map(|(e, ..)| *e).collect();
        let answered: Vec<u32> = one_then_two(&on_time, within, false).iter().map(|found| found[0]).collect();
        let alone = on_time.iter().filter(|event| event.value == 1 && !answered.contains(&event.id));
        let expected = sorted(alone.map(|event| vec![event.id]).collect());
        let found = test.output().into_iter().map(|records| records.iter().map(|e| e.id).collect::<Vec<_>>()).collect();
        prop_assert_eq!(sorted(found), expected);
    }

    #[test]
    fn three_steps_one_after_the_other(steps in steps(), within in 0..120i64, alone: bool) {
        let pattern = move || {
            let begin = Pattern::begin(ms(within), |event: &Event| event.value == 1).followed_by(|event| event.value >= 2);
            let three = begin.followed_by_unless(|event| [-3, -1].contains(&event.value), |event| event.value == 0);
            if alone { three.never_followed_by(|event| event.value >= 2) } else { three }
        };
        let open = move |states: &mut States<'_, u8>| PatternLogic::open(states, pattern());
        let mut test = LogicTest::new(Order::EventTime, |event: &Event| event.key, open);
        play(&mut test, &steps, |event| event);
        let on_time: Vec<Event> = seen(&steps, |_| false).iter().filter(|(_, _, late)| !late).map(|(e, ..)| *e).collect();
        let found = test.output().into_iter().map(|records| records.iter().map(|e| e.id).collect::<Vec<_>>()).collect();
        prop_assert_eq!(sorted(found), three_steps(&on_time, within, alone));
        prop_assert_eq!(test.state_bytes(), 0);
    }
}
