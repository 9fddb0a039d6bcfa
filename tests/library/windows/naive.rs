//! What windows tell, by lists of their records.

use std::collections::{BTreeMap, BTreeSet};

use tidemill::operators::window::WindowSpec;
use tidemill::prelude::*;

use crate::script::{Event, Step, sorted};

pub type Told = (u8, Window, Firing, Vec<u32>);

fn window(start: i128, end: i128) -> Window {
    let clamp = |time: i128| EventTime(time.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
    Window { start: clamp(start), end: clamp(end) }
}

/// All windows of a time, by trying.
pub fn windows_of(assigner: Assigner, time: i64) -> Vec<Window> {
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
pub struct Naive {
    windows: BTreeMap<(u8, Window), Vec<u32>>,
    pub told: Vec<Told>,
    pub late: Vec<u32>,
}

impl Naive {
    /// Windows of fixed times.
    pub fn fixed(steps: &[Step], assigner: Assigner, lateness: i64) -> Self {
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

    /// Windows of fixed times with a trigger, none of which ends after the end of time.
    pub fn triggered(
        steps: &[Step],
        spec: WindowSpec,
        early_ms: Option<i64>,
        records: Option<usize>,
        at_end: bool,
    ) -> Self {
        #[derive(Default)]
        struct Open {
            ids: Vec<u32>,
            untold: Vec<u32>,
            told: Option<Vec<u32>>,
            early_at: Option<i64>,
        }
        let mut open: BTreeMap<(u8, Window), Open> = BTreeMap::new();
        let (mut naive, mut watermark) = (Self::default(), i64::MIN);
        let tell = |told: &mut Vec<Told>, (key, window): (u8, Window), open: &mut Open, firing: Firing| {
            let untold = std::mem::take(&mut open.untold);
            match spec.mode {
                Mode::Discarding => return told.push((key, window, firing, sorted(untold))),
                Mode::Retracting => {
                    told.extend(open.told.take().map(|before| (key, window, Firing::Retraction, before)));
                    open.told = Some(sorted(open.ids.clone()));
                }
                Mode::Accumulating => {}
            }
            told.push((key, window, firing, sorted(open.ids.clone())));
        };
        let end = Step::Watermark(i64::MAX);
        for step in steps.iter().chain([&end]) {
            match *step {
                Step::Event(Event { time, id, key, .. }) => {
                    let alive = |window: &Window| window.end.plus_ms(spec.allowed_lateness_ms).0 > watermark;
                    let windows: Vec<Window> = windows_of(spec.assigner, time).into_iter().filter(alive).collect();
                    if windows.is_empty() {
                        naive.late.push(id);
                    }
                    for window in windows {
                        let slot = open.entry((key, window)).or_default();
                        slot.ids.push(id);
                        slot.untold.push(id);
                        if window.end.0 <= watermark {
                            if !at_end {
                                tell(&mut naive.told, (key, window), slot, Firing::Late);
                            }
                            continue;
                        }
                        if records.is_some_and(|records| slot.untold.len() >= records) {
                            tell(&mut naive.told, (key, window), slot, Firing::Early);
                        }
                        if let Some(every) = early_ms
                            && slot.early_at.is_none()
                            && !slot.untold.is_empty()
                        {
                            let next = (time.max(watermark).div_euclid(every) + 1) * every;
                            slot.early_at = (next < window.end.0).then_some(next);
                        }
                    }
                }
                Step::Watermark(next) if next > watermark => {
                    for (window, slot) in &mut open {
                        if slot.early_at.is_some_and(|at| at <= next) {
                            slot.early_at = None;
                            if !slot.untold.is_empty() {
                                tell(&mut naive.told, *window, slot, Firing::Early);
                            }
                        }
                        let ends = watermark < window.1.end.0 && window.1.end.0 <= next;
                        if ends && (spec.mode == Mode::Accumulating || !slot.untold.is_empty()) {
                            tell(&mut naive.told, *window, slot, Firing::OnTime);
                        }
                        let over = window.1.end.plus_ms(spec.allowed_lateness_ms).0 <= next;
                        if over && !slot.untold.is_empty() {
                            tell(&mut naive.told, *window, slot, Firing::Late);
                        }
                    }
                    watermark = next;
                    open.retain(|(_, window), _| window.end.plus_ms(spec.allowed_lateness_ms).0 > watermark);
                }
                _ => {}
            }
        }
        naive
    }

    /// Sessions: the records of a key that are not forgotten, cut where nothing came for the gap.
    pub fn sessions(steps: &[Step], gap: i64, lateness: i64) -> Self {
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
