//! Random scripts for property tests: which records come in, how time moves, and when the job crashes.

use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill_engine::shell::KeyedLogic;
use tidemill_engine::testing::{LogicTest, ProgramTest, TestSource};
use tidemill_engine::{Data, ProcessingTime};

/// Returns a length of time in the form that scripts use: whole milliseconds, not below zero.
pub const fn ms(n: i64) -> Duration {
    assert!(n >= 0, "a length of time is not below zero");
    Duration::from_millis(n.unsigned_abs())
}

/// A record of a script: its number in the script, its key, its time, and a value to aggregate.
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

/// Generates a script whose records lie within some hundred ms after a random start; the input ends after it. It begins
/// with a random number of workers, and most scripts have a crash that restores a checkpoint with records in it.
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
    // The number of workers at the beginning; whether there is a checkpoint and later a crash (in 2 of 3 scripts),
    // where, and the number of workers after it.
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
                // A record may be up to 20 ms behind the watermark.
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

/// Moves a script that is at the beginning or end of time to the middle, because not every oracle can handle windows
/// that end after the end of time.
pub fn from_the_ends(steps: Vec<Step>) -> Vec<Step> {
    let moved = |time: i64| if time.unsigned_abs() < 1 << 62 { time } else { time.wrapping_add(i64::MIN) };
    let steps = steps.into_iter().map(|step| match step {
        Step::Event(event) => Step::Event(Event { time: moved(event.time), ..event }),
        Step::Watermark(watermark) => Step::Watermark(moved(watermark)),
        other => other,
    });
    steps.collect()
}

/// Returns the configuration of a property test that has this number of cases in a quick run.
pub fn cases(cases: u32) -> ProptestConfig {
    let cases = cases * crate::times() as u32;
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

/// Plays the script, then ends the input.
pub fn play<L: KeyedLogic>(test: &mut LogicTest<L>, steps: &[Step], input: impl Fn(Event) -> L::In) {
    play_part(test, steps, input);
    test.finish();
}

/// Plays the script as [`play`] does. Before the end of input, moves the watermark to `by` ms after every time in the
/// script, and asserts that no state is left then. If that would be after the end of time, the input ends without it.
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

/// Plays a part of a script.
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

/// Pushes events to a source of two partitions; `of` returns the partition and the time of each. After every `every`
/// events, the watermarks of both partitions move to 20 ms behind the place of the last one. `then` is called after
/// each event.
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

/// A crash of a program: the record after which it happens, the number of workers afterwards, and whether everything
/// before is committed first.
pub type Crash = (prop::sample::Index, usize, bool);

pub fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    prop::collection::vec((any::<prop::sample::Index>(), 1..5_usize, any::<bool>()), 0..4)
}

/// Crashes the program as often as `crashes` says for the time after record number `at` of `events`.
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

/// Returns the items sorted, to compare them where the order of different keys is not guaranteed.
pub fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items
}

/// Returns what an operator in event-time order sees: each record, the watermark at that moment, and whether the record
/// is late. Records for which `first` returns true come before others of the same time.
pub fn seen(steps: &[Step], first: impl Fn(&Event) -> bool) -> Vec<(Event, i64, bool)> {
    let (mut pending, mut seen, mut watermark) = (Vec::new(), Vec::new(), i64::MIN);
    let end = Step::Watermark(i64::MAX);
    for step in steps.iter().chain([&end]) {
        match *step {
            Step::Event(event) if event.time < watermark || watermark == i64::MAX => {
                seen.push((event, watermark, true))
            }
            Step::Event(event) => pending.push(event),
            Step::Watermark(next) if next > watermark => {
                let mut due: Vec<Event> =
                    pending.extract_if(.., |event: &mut Event| event.time < next || next == i64::MAX).collect();
                due.sort_by_key(|event| (event.time, !first(event)));
                seen.extend(due.into_iter().map(|event| (event, watermark, false)));
                watermark = next;
            }
            _ => {}
        }
    }
    seen
}
