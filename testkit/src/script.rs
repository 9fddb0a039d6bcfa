//! Random scripts: what comes in, how time moves, when it crashes.

use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill_engine::shell::KeyedLogic;
use tidemill_engine::testing::{LogicTest, ProgramTest, TestSource};
use tidemill_engine::{Data, ProcessingTime};

/// A length of time as scripts have them: milliseconds, from zero on.
pub const fn ms(n: i64) -> Duration {
    assert!(n >= 0, "a length of time is not below zero");
    Duration::from_millis(n.unsigned_abs())
}

/// A record: its number in the script, its key, its time, and something to aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event {
    pub time: i64,
    pub id: u32,
    pub key: u8,
    pub value: i32,
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Event(Event),
    Watermark(i64),
    Clock(u64),
    Checkpoint,
    Crash(usize),
}

/// A script whose records lie in some hundred ms after a random start; input ends after it. It begins with some number of
/// workers, and most have a crash that goes on from a checkpoint with records in it.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let start = prop_oneof![
        4 => Just(0_i64),
        4 => -1000..0_i64,
        1 => Just(i64::MIN),
        1 => Just(i64::MAX - 260),
    ];
    let step = prop_oneof![
        24 => (0..60_i64, 0..3_u8, -3..4_i32).prop_map(|(ahead, key, value)| (0, ahead, key, value)),
        8 => (0..40_i64).prop_map(|on| (1, on, 0, 0)),
        1 => (0..120_i64).prop_map(|on| (2, on, 0, 0)),
        1 => Just((3, 0, 0, 0)),
        1 => (1..5_i64).prop_map(|workers| (4, workers, 0, 0)),
    ];
    // How many workers it begins with; where it is cut for a checkpoint and, later, a crash, in how many of 3 scripts.
    let crash = (1..5_i64, 0..3_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..5_i64);
    (start, prop::collection::vec(step, 1..80), crash).prop_map(
        |(start, mut steps, (first, cut, one, other, workers))| {
            if cut > 0 {
                let (one, other) = (one.index(steps.len()), other.index(steps.len()));
                steps.insert(one.max(other), (4, workers, 0, 0));
                steps.insert(one.min(other), (3, 0, 0, 0));
            }
            steps.insert(0, (4, first, 0, 0));
            let (mut watermark, mut clock) = (start, 0);
            let steps = (0..).zip(steps).map(|(id, (what, number, key, value))| match what {
                // Up to 20 behind the watermark.
                0 => Step::Event(Event { time: watermark.saturating_add(number - 20), id, key, value }),
                1 => {
                    watermark = watermark.saturating_add(number);
                    Step::Watermark(watermark)
                }
                2 => {
                    clock += number as u64;
                    Step::Clock(clock)
                }
                3 => Step::Checkpoint,
                _ => Step::Crash(number as usize),
            });
            steps.collect()
        },
    )
}

/// A script at an end of time goes to the middle of it: what ends after the end of time is not for every oracle.
pub fn from_the_ends(steps: Vec<Step>) -> Vec<Step> {
    let moved = |time: i64| if time.unsigned_abs() < 1 << 62 { time } else { time.wrapping_add(i64::MIN) };
    let steps = steps.into_iter().map(|step| match step {
        Step::Event(event) => Step::Event(Event { time: moved(event.time), ..event }),
        Step::Watermark(watermark) => Step::Watermark(moved(watermark)),
        other => other,
    });
    steps.collect()
}

/// So many cases of a test, in a quick run.
pub fn cases(cases: u32) -> ProptestConfig {
    let cases = cases * crate::times() as u32;
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

/// Does what the script says, up to the end of input.
pub fn play<L: KeyedLogic>(test: &mut LogicTest<L>, steps: &[Step], input: impl Fn(Event) -> L::In) {
    play_part(test, steps, input);
    test.finish();
}

/// As [`play`]; before the end of input the watermark passes all that is in the script by `by` ms, and then no state may be
/// left. Where time ends before that, input does.
pub fn play_freed<L: KeyedLogic>(
    test: &mut LogicTest<L>,
    steps: &[Step],
    by: i64,
    input: impl Fn(Event) -> L::In,
) -> Result<(), TestCaseError> {
    play_part(test, steps, input);
    let last = steps.iter().filter_map(|step| match step {
        Step::Event(event) => Some(event.time),
        Step::Watermark(watermark) => Some(*watermark),
        _ => None,
    });
    if let Some(passed) = last.max().and_then(|last| last.checked_add(by)) {
        test.watermark(passed);
        prop_assert_eq!(test.state_bytes(), 0, "the watermark is at {}, and state is left", passed);
    }
    test.finish();
    Ok(())
}

/// Does what a part of the script says.
pub fn play_part<L: KeyedLogic>(test: &mut LogicTest<L>, steps: &[Step], input: impl Fn(Event) -> L::In) {
    for step in steps {
        match *step {
            Step::Event(event) => test.push(event.time, input(event)),
            Step::Watermark(watermark) => test.watermark(watermark),
            Step::Clock(ms) => test.clock(ProcessingTime(ms as i64)),
            Step::Checkpoint => test.checkpoint(),
            Step::Crash(workers) => test.crash(workers),
        }
    }
}

/// Pushes what comes, each where `of` says its partition and its time are, to a source of two partitions. Each time `every` of
/// them have come, watermarks follow 20 ms behind the place of the last one. `then` is called after each.
pub fn feed<T: Data>(
    source: &TestSource<T>,
    events: &[(i64, T)],
    every: usize,
    of: impl Fn(&T) -> (usize, i64),
    mut then: impl FnMut(usize),
) {
    for (at, (place, event)) in events.iter().enumerate() {
        let (partition, time) = of(event);
        source.push_to(partition, time, event.clone());
        if at % every == every - 1 {
            (0..2).for_each(|partition| source.watermark_of(partition, place - 20));
        }
        then(at);
    }
}

/// After which record a program crashes, with how many workers it goes on, and whether all before is committed.
pub type Crash = (prop::sample::Index, usize, bool);

pub fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    prop::collection::vec((any::<prop::sample::Index>(), 1..5_usize, any::<bool>()), 0..4)
}

/// Crashes, if it is to after the record `at` of `events`.
pub fn crash_at(test: &mut ProgramTest, crashes: &[Crash], at: usize, events: usize) {
    for (crash, workers, settled) in crashes {
        if crash.index(events) == at {
            if *settled {
                test.settle();
            }
            test.crash(*workers);
        }
    }
}

/// Sorted, to be compared where the order of different keys is not promised.
pub fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items
}

/// What an operator in event-time order sees: each record, the watermark then, whether it is late. `first` are records
/// that come before others of the same time.
pub fn seen(steps: &[Step], first: impl Fn(&Event) -> bool) -> Vec<(Event, i64, bool)> {
    let (mut held, mut seen, mut watermark) = (Vec::new(), Vec::new(), i64::MIN);
    let end = Step::Watermark(i64::MAX);
    for step in steps.iter().chain([&end]) {
        match *step {
            Step::Event(event) if event.time < watermark || watermark == i64::MAX => {
                seen.push((event, watermark, true))
            }
            Step::Event(event) => held.push(event),
            Step::Watermark(next) if next > watermark => {
                let mut due: Vec<Event> =
                    held.extract_if(.., |event: &mut Event| event.time < next || next == i64::MAX).collect();
                due.sort_by_key(|event| (event.time, !first(event)));
                seen.extend(due.into_iter().map(|event| (event, watermark, false)));
                watermark = next;
            }
            _ => {}
        }
    }
    seen
}
