//! Joins, compared with a computation over all pairs of records.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemill::join::{BroadcastLogic, IntervalJoinLogic, SLOTS, TemporalJoinLogic, pairs};
use tidemill::prelude::*;
use tidemill::state::hash_key;
use tidemill::stream::Either;
use tidemill::testing::LogicTest;
use tidemill::window::{WindowLogic, WindowSpec};

use crate::windows::Naive;
use testkit::script::{Event, Step, cases, from_the_ends, ms, play, play_freed, seen, sorted, steps};

type Sides = Either<Event, Event>;

/// Returns the event as a record of the right stream if its id is odd, and of the left one otherwise.
pub fn side(event: Event) -> Sides {
    if event.id.is_multiple_of(2) { Either::First(event) } else { Either::Second(event) }
}

pub fn key(sides: &Sides) -> u8 {
    let (Either::First(event) | Either::Second(event)) = sides;
    event.key
}

/// Returns the bounds of an interval join in milliseconds after the left record; below zero is before it.
pub fn between_ms(lower: i64, upper: i64) -> Between {
    let bound = |n: i64| if n < 0 { earlier(ms(-n)) } else { later(ms(n)) };
    Between::new(bound(lower), bound(upper))
}

fn kinds() -> impl Strategy<Value = JoinKind> {
    prop_oneof![Just(JoinKind::Inner), Just(JoinKind::Left), Just(JoinKind::Right), Just(JoinKind::Full)]
}

fn assigners() -> impl Strategy<Value = Assigner> {
    prop_oneof![
        (1..60i64).prop_map(|size| Assigner::tumbling(ms(size))),
        (1..30i64, 0..60i64).prop_map(|(slide, more)| Assigner::sliding(ms(slide + more), ms(slide))),
        (1..25i64).prop_map(|gap| Assigner::session(ms(gap))),
    ]
}

/// Returns the script as an operator in event-time order sees it: the watermark has reached the time of each record
/// when the record is processed, but reaches the end of time only after the records there.
fn by_event_time(steps: &[Step]) -> Vec<Step> {
    let seen = seen(steps, |_| false).into_iter().flat_map(|(event, watermark, late)| {
        let now = if late { watermark } else { event.time.min(i64::MAX - 1) };
        [Step::Watermark(now), Step::Event(event)]
    });
    seen.collect()
}

/// Returns all pairs of `events` that belong together, and for outer joins the records without a pair.
pub fn all_pairs(events: &[Event], kind: JoinKind, together: impl Fn(&Event, &Event) -> bool) -> Vec<Joined<u32, u32>> {
    let mut all = Vec::new();
    let (left, right): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| event.id % 2 == 0);
    let pairs = |a: &Event, b: &Event| a.key == b.key && together(a, b);
    for a in &left {
        all.extend(right.iter().filter(|b| pairs(a, b)).map(|b| Joined::Both(a.id, b.id)));
    }
    if matches!(kind, JoinKind::Left | JoinKind::Full) {
        all.extend(left.iter().filter(|a| !right.iter().any(|b| pairs(a, b))).map(|a| Joined::Left(a.id)));
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        all.extend(right.iter().filter(|b| !left.iter().any(|a| pairs(a, b))).map(|b| Joined::Right(b.id)));
    }
    sorted(all)
}

pub fn ids(joined: Joined<Event, Event>) -> Joined<u32, u32> {
    match joined {
        Joined::Both(a, b) => Joined::Both(a.id, b.id),
        Joined::Left(a) => Joined::Left(a.id),
        Joined::Right(b) => Joined::Right(b.id),
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn interval_join(steps in steps(), lower in -40..30i64, wide in 0..50i64, kind in kinds()) {
        let between = between_ms(lower, lower + wide);
        let mut test = LogicTest::new(Order::EventTime, key, move |states| IntervalJoinLogic::open(states, between, kind));
        play_freed(&mut test, &steps, 500, side)?;
        let seen = seen(&steps, |_| false);
        let on_time: Vec<Event> = seen.iter().filter(|(_, _, late)| !late).map(|(event, ..)| *event).collect();
        let late: Vec<u32> = seen.iter().filter(|(_, _, late)| *late).map(|(event, ..)| event.id).collect();
        let together = |a: &Event, b: &Event| {
            let apart = i128::from(b.time) - i128::from(a.time);
            i128::from(lower) <= apart && apart <= i128::from(lower + wide)
        };
        let found = test.output().into_iter().map(ids).collect();
        prop_assert_eq!(sorted(found), all_pairs(&on_time, kind, together));
        let (mut found, mut late) = (test.side().into_iter().map(|s| match s {
            Either::First(e) | Either::Second(e) => e.id,
        }).collect::<Vec<_>>(), late);
        found.sort_unstable();
        late.sort_unstable();
        prop_assert_eq!(found, late);
        prop_assert_eq!(test.state_bytes(), 0, "the watermark frees everything");
    }

    #[test]
    fn window_join(
        steps in steps(), assigner in assigners(), lateness in prop_oneof![Just(0), 1..60i64], kind in kinds(),
    ) {
        // Windows that would end after the end of time are left to the tests of windows.
        let steps = if matches!(assigner, Assigner::Sliding { .. }) { from_the_ends(steps) } else { steps };
        let spec = WindowSpec { allowed_lateness: ms(lateness), ..WindowSpec::new(assigner) };
        let open = move |states: &mut States<'_, u8>| WindowLogic::open(states, spec, pairs(kind));
        let mut test = LogicTest::new(Order::EventTime, key, open);
        play_freed(&mut test, &steps, 500, side)?;
        let events: BTreeMap<u32, Event> = steps.iter().filter_map(|step| match step {
            Step::Event(event) => Some((event.id, *event)),
            _ => None,
        }).collect();
        let naive = Naive::emitted(&by_event_time(&steps), spec);
        let expected = naive.emitted.into_iter().map(|(key, window, firing, ids)| {
            let together: Vec<Event> = ids.iter().map(|id| events[id]).collect();
            (key, window, firing, all_pairs(&together, kind, |_, _| true))
        });
        let found = test.output().into_iter().map(|w| {
            (w.key, w.window, w.firing, sorted(w.value.into_iter().map(ids).collect()))
        });
        prop_assert_eq!(sorted(found.collect()), sorted(expected.collect()));
        let late = test.side().into_iter().map(|(Either::First(event) | Either::Second(event))| event.id);
        prop_assert_eq!(sorted(late.collect()), sorted(naive.late));
        prop_assert_eq!(test.state_bytes(), 0);
    }

    #[test]
    fn temporal_join(steps in steps(), history in prop_oneof![Just(0), 1..40i64]) {
        // A version of value 0 deletes the row.
        let table = move || TemporalTable::new().history(ms(history)).deleted_by(|event: &Event| event.value == 0);
        let open = move |states: &mut States<'_, u8>| TemporalJoinLogic::open(states, table());
        let mut test = LogicTest::new(Order::EventTime, key, open);
        play(&mut test, &steps, side);
        let (mut versions, mut expected, mut late) = (BTreeMap::<(u8, i64), Event>::new(), Vec::new(), Vec::new());
        for (event, watermark, _) in seen(&steps, |event| event.id % 2 == 1) {
            if event.time < watermark.saturating_sub(history) {
                late.push(event.id);
            } else if event.id % 2 == 1 {
                versions.insert((event.key, event.time), event);
            } else {
                let before = versions.range((event.key, i64::MIN)..=(event.key, event.time)).next_back();
                expected.push((event.id, before.map(|(_, row)| *row).filter(|row| row.value != 0)));
            }
        }
        let found = test.output().into_iter().map(|(event, row)| (event.id, row)).collect();
        prop_assert_eq!(sorted(found), sorted(expected));
        let found = test.side().into_iter().map(|sides| match sides {
            Either::First(event) | Either::Second(event) => event.id,
        });
        prop_assert_eq!(sorted(found.collect()), sorted(late));
    }

    #[test]
    fn broadcast_join(steps in steps()) {
        let slot = |event: &Event| (hash_key(&event.key) % u64::from(SLOTS)) as u16;
        let key = move |either: &Either<Event, (u16, Event)>| match either {
            Either::First(event) => slot(event),
            Either::Second((slot, _)) => *slot,
        };
        type Rules = BTreeMap<i32, u32>;
        let open = |states: &mut States<'_, u16>| {
            let apply = |rules: &mut Rules, event: Event| _ = rules.insert(event.value, event.id);
            BroadcastLogic::open(states, apply, |rules: &Rules, event: Event| Some((event.id, rules.clone())))
        };
        let mut test = LogicTest::new(Order::EventTime, key, open);
        for step in &steps {
            match *step {
                Step::Event(event) if event.id % 4 == 0 => {
                    (0..SLOTS).for_each(|slot| test.push(event.time, Either::Second((slot, event))));
                }
                Step::Event(event) => test.push(event.time, Either::First(event)),
                Step::Watermark(watermark) => test.watermark(watermark),
                Step::Crash(workers) => test.crash(workers),
                Step::Checkpoint => test.checkpoint(),
                Step::Clock(_) => {}
            }
        }
        test.finish();
        let (mut rules, mut expected) = (Rules::new(), Vec::new());
        for (event, ..) in seen(&steps, |event| event.id % 4 == 0) {
            if event.id % 4 == 0 {
                rules.insert(event.value, event.id);
            } else {
                expected.push((event.id, rules.clone()));
            }
        }
        prop_assert_eq!(sorted(test.output()), sorted(expected));
    }
}
