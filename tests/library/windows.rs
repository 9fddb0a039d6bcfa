//! Windows of all kinds, against lists of the records of each window.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemill::operators::window::{
    Aggregate, Assigner, Firing, Mode, TimeDomain, Trigger, Window, WindowLogic, WindowSpec, Windowed, counting,
    distinct_of, full_window, quantiles_of, top_n,
};
use tidemill::prelude::*;
use tidemill::testing::LogicTest;

use crate::script::{Event, Step, cases, play, sorted, steps};

/// The numbers of a window's records: what was counted, and nothing twice.
struct Ids;

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

type Told = (u8, Window, Firing, Vec<u32>);

fn window(start: i128, end: i128) -> Window {
    let clamp = |time: i128| EventTime(time.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
    Window { start: clamp(start), end: clamp(end) }
}

/// All windows of a time, by trying.
fn windows_of(assigner: Assigner, time: i64) -> Vec<Window> {
    let (size, slide, offset) = match assigner {
        Assigner::Tumbling { size_ms, offset_ms } => (size_ms, size_ms, offset_ms),
        Assigner::Sliding { size_ms, slide_ms, offset_ms } => (size_ms, slide_ms, offset_ms),
        other => panic!("{other:?}"),
    };
    let (time, size, slide, offset) = (i128::from(time), i128::from(size), i128::from(slide), i128::from(offset));
    let near = (time - offset) / slide;
    let starts = (near - size / slide - 2..near + 2).map(|k| k * slide + offset);
    let mut windows: Vec<Window> =
        starts.filter(|start| *start <= time && time < start + size).map(|start| window(start, start + size)).collect();
    // Of sliding windows that would end after the end of time there is one.
    let last = windows.iter().position(|window| window.end == EventTime::MAX);
    windows.truncate(last.map_or(windows.len(), |last| last + 1));
    windows
}

/// What an operator does, with a list for each window. Its watermark starts before all of time.
#[derive(Default)]
struct Naive {
    windows: BTreeMap<(u8, Window), Vec<u32>>,
    told: Vec<Told>,
    late: Vec<u32>,
}

impl Naive {
    /// Windows of fixed times.
    fn fixed(steps: &[Step], assigner: Assigner, lateness: i64) -> Self {
        let (mut naive, mut watermark) = (Self::default(), i64::MIN);
        let end = Step::Watermark(i64::MAX);
        for step in steps.iter().chain([&end]) {
            match *step {
                Step::Event(Event { time, id, key, .. }) => {
                    let open: Vec<Window> = windows_of(assigner, time)
                        .into_iter()
                        .filter(|window| window.end.plus_ms(lateness).0 > watermark)
                        .collect();
                    if open.is_empty() {
                        naive.late.push(id);
                    }
                    for window in open {
                        let ids = naive.windows.entry((key, window)).or_default();
                        ids.push(id);
                        if window.end.0 <= watermark {
                            naive.told.push((key, window, Firing::Late, ids.clone()));
                        }
                    }
                }
                Step::Watermark(next) if next > watermark => {
                    for ((key, window), ids) in &naive.windows {
                        if watermark < window.end.0 && window.end.0 <= next {
                            naive.told.push((*key, *window, Firing::OnTime, ids.clone()));
                        }
                    }
                    watermark = next;
                    naive.windows.retain(|(_, window), _| window.end.plus_ms(lateness).0 > watermark);
                }
                _ => {}
            }
        }
        naive
    }

    /// Sessions: the records of a key that are not forgotten, cut where nothing came for the gap.
    fn sessions(steps: &[Step], gap: i64, lateness: i64) -> Self {
        let (mut naive, mut watermark) = (Self::default(), i64::MIN);
        let mut kept: BTreeMap<u8, BTreeSet<(i64, u32)>> = BTreeMap::new();
        let cut = |events: &BTreeSet<(i64, u32)>| -> Vec<(Window, Vec<u32>)> {
            let events: Vec<(i64, u32)> = events.iter().copied().collect();
            let sessions = events.chunk_by(|one, next| next.0 <= one.0.saturating_add(gap));
            let session = |events: &[(i64, u32)]| {
                let (first, last) = (events[0].0, events[events.len() - 1].0);
                let window = Window { start: EventTime(first), end: EventTime(last).plus_ms(gap) };
                (window, sorted(events.iter().map(|(_, id)| *id).collect()))
            };
            sessions.map(session).collect()
        };
        let end = Step::Watermark(i64::MAX);
        for step in steps.iter().chain([&end]) {
            match *step {
                Step::Event(Event { time, id, key, .. }) => {
                    let events = kept.entry(key).or_default();
                    let own = Window { start: EventTime(time), end: EventTime(time).plus_ms(gap) };
                    let touches = |(w, _): &(Window, Vec<u32>)| w.start <= own.end && own.start <= w.end;
                    if own.end.plus_ms(lateness).0 <= watermark && !cut(events).iter().any(touches) {
                        naive.late.push(id);
                        continue;
                    }
                    events.insert((time, id));
                    let (window, ids) = cut(events).into_iter().find(|(_, ids)| ids.contains(&id)).unwrap();
                    if window.end.0 <= watermark {
                        naive.told.push((key, window, Firing::Late, ids));
                    }
                }
                Step::Watermark(next) if next > watermark => {
                    for (key, events) in &mut kept {
                        for (window, ids) in cut(events) {
                            if watermark < window.end.0 && window.end.0 <= next {
                                naive.told.push((*key, window, Firing::OnTime, ids.clone()));
                            }
                            if window.end.plus_ms(lateness).0 <= next {
                                events.retain(|(_, id)| !ids.contains(id));
                            }
                        }
                    }
                    watermark = next;
                }
                _ => {}
            }
        }
        naive
    }
}

/// Runs the operator and compares; nothing may be left of its state.
fn check(steps: &[Step], spec: WindowSpec, expected: Naive) -> Result<(), TestCaseError> {
    let mut test =
        LogicTest::new(Order::Arrival, |event: &Event| event.key, move |states| WindowLogic::open(states, spec, Ids));
    play(&mut test, steps, |event| event);
    let told = |w: Windowed<u8, Vec<u32>>| (w.key, w.window, w.firing, w.value);
    prop_assert_eq!(sorted(test.output().into_iter().map(told).collect()), sorted(expected.told));
    prop_assert_eq!(sorted(test.side().iter().map(|event| event.id).collect()), sorted(expected.late));
    prop_assert_eq!(test.state_bytes(), 0, "state is left");
    Ok(())
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn tumbling(steps in steps(), size in 1..70i64, offset in -80..80i64, lateness in prop_oneof![Just(0), 1..60i64]) {
        let assigner = Assigner::tumbling(size).offset_ms(offset);
        let spec = WindowSpec { allowed_lateness_ms: lateness, ..WindowSpec::new(assigner) };
        check(&steps, spec, Naive::fixed(&steps, assigner, lateness))?;
    }

    #[test]
    fn sliding(
        steps in steps(), slide in 1..30i64, more in 0..90i64, offset in -80..80i64,
        lateness in prop_oneof![Just(0), 1..60i64],
    ) {
        let assigner = Assigner::sliding(slide + more, slide).offset_ms(offset);
        let spec = WindowSpec { allowed_lateness_ms: lateness, ..WindowSpec::new(assigner) };
        check(&steps, spec, Naive::fixed(&steps, assigner, lateness))?;
    }

    #[test]
    fn sessions(steps in steps(), gap in 1..25i64, lateness in prop_oneof![Just(0), 1..60i64]) {
        let spec = WindowSpec { allowed_lateness_ms: lateness, ..WindowSpec::new(Assigner::session(gap)) };
        check(&steps, spec, Naive::sessions(&steps, gap, lateness))?;
    }
}
