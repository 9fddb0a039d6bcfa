//! An oracle for the results of windows, which keeps lists of the records of each window.

use std::collections::BTreeMap;

use tidemill::prelude::*;
use tidemill::time::in_ms;
use tidemill::window::WindowSpec;

use super::sessions::Sessions;
use testkit::script::{Event, Step, ms, sorted};

pub type Emitted = (u8, Window, Firing, Vec<u32>);

/// The firings of a window other than the one on time, from which a [`Trigger`] is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emits {
    pub early: Option<(i64, TimeDomain)>,
    pub records: Option<usize>,
    pub late_at_end: bool,
}

impl Emits {
    pub fn trigger(self) -> Trigger {
        let mut trigger = Trigger::on_watermark();
        if let Some((every_ms, of)) = self.early {
            trigger = trigger.early_every(ms(every_ms), of);
        }
        if let Some(records) = self.records {
            trigger = trigger.every_records(records as u64);
        }
        if self.late_at_end { trigger.late_at_end() } else { trigger }
    }

    /// Returns the time of the next early firing of a window that has new records now, if that is before its end.
    pub fn early_at(self, event_time: i64, clock: u64, end: EventTime) -> Option<i64> {
        let next = |time: i64, every: i64| (time.div_euclid(every) + 1) * every;
        match self.early? {
            (every, TimeDomain::Event) => Some(next(event_time, every)).filter(|at| *at < end.0),
            // Its end is in event time, so it cannot be compared with this clock.
            (every, TimeDomain::Processing) => Some(next(clock as i64, every)),
        }
    }

    /// Returns whether an early firing that is planned for `at` is due when the clock `of` reaches `now`.
    pub fn is_due(self, of: TimeDomain, at: i64, now: i64) -> bool {
        self.early.is_some_and(|(_, clock)| clock == of) && at <= now
    }
}

fn window(start: i128, end: i128) -> Window {
    let clamp = |time: i128| EventTime(time.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
    Window { start: clamp(start), end: clamp(end) }
}

/// Returns all windows that contain a time, by testing every window near it.
pub fn windows_of(assigner: Assigner, time: i64) -> Vec<Window> {
    let (size, slide, offset) = match assigner {
        Assigner::Tumbling { size, offset } => (size, size, offset),
        Assigner::Sliding { size, slide, offset } => (size, slide, offset),
        other => panic!("{other:?}"),
    };
    let [size, slide, offset] = [size, slide, offset].map(|length| length.as_millis() as i128);
    let time = i128::from(time);
    let near = (time - offset) / slide;
    let starts = (near - size / slide - 2..near + 2).map(|k| k * slide + offset);
    let mut windows: Vec<Window> =
        starts.filter(|start| *start <= time && time < start + size).map(|start| window(start, start + size)).collect();
    // Of the sliding windows that would end after the end of time, only the first exists.
    let last = windows.iter().position(|window| window.end == EventTime::MAX);
    windows.truncate(last.map_or(windows.len(), |last| last + 1));
    windows
}

/// The oracle: a list of records for each window, and the output expected from the operator.
#[derive(Default)]
pub struct Naive {
    windows: BTreeMap<(u8, Window), Vec<u32>>,
    pub emitted: Vec<Emitted>,
    pub late: Vec<u32>,
}

impl Naive {
    /// Computes the output of time windows of any kind, with the default trigger and mode.
    pub fn emitted(steps: &[Step], spec: WindowSpec) -> Self {
        match spec.assigner {
            Assigner::Session { .. } => Sessions::emitted(steps, spec, Emits::default()),
            assigner => Self::fixed(steps, assigner, in_ms(spec.allowed_lateness)),
        }
    }

    /// Computes the output of tumbling or sliding windows.
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
                            naive.emitted.push((key, window, Firing::Late, ids.clone()));
                        }
                    }
                }
                Step::Watermark(next) if next > watermark => {
                    for ((key, window), ids) in &naive.windows {
                        if watermark < window.end.0 && window.end.0 <= next {
                            naive.emitted.push((*key, *window, Firing::OnTime, ids.clone()));
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

    /// Computes the output of tumbling or sliding windows with a trigger. None of them may end after the end of time.
    pub fn triggered(steps: &[Step], spec: WindowSpec, emits: Emits) -> Self {
        #[derive(Default)]
        struct Open {
            ids: Vec<u32>,
            unfired: Vec<u32>,
            emitted: Option<Vec<u32>>,
            early_at: Option<i64>,
        }
        let mut open: BTreeMap<(u8, Window), Open> = BTreeMap::new();
        let (mut naive, mut watermark, mut clock) = (Self::default(), i64::MIN, 0);
        let emit = |emitted: &mut Vec<Emitted>, (key, window): (u8, Window), open: &mut Open, firing: Firing| {
            let unfired = std::mem::take(&mut open.unfired);
            match spec.mode {
                AccumulationMode::Discarding => return emitted.push((key, window, firing, sorted(unfired))),
                AccumulationMode::Retracting => {
                    emitted.extend(open.emitted.take().map(|before| (key, window, Firing::Retraction, before)));
                    open.emitted = Some(sorted(open.ids.clone()));
                }
                AccumulationMode::Accumulating => {}
            }
            emitted.push((key, window, firing, sorted(open.ids.clone())));
        };
        let end = Step::Watermark(i64::MAX);
        for step in steps.iter().chain([&end]) {
            match *step {
                Step::Event(Event { time, id, key, .. }) => {
                    let alive = |window: &Window| (window.end + spec.allowed_lateness).0 > watermark;
                    let windows: Vec<Window> = windows_of(spec.assigner, time).into_iter().filter(alive).collect();
                    if windows.is_empty() {
                        naive.late.push(id);
                    }
                    for window in windows {
                        let slot = open.entry((key, window)).or_default();
                        slot.ids.push(id);
                        slot.unfired.push(id);
                        if window.end.0 <= watermark {
                            if !emits.late_at_end {
                                emit(&mut naive.emitted, (key, window), slot, Firing::Late);
                            }
                            continue;
                        }
                        if emits.records.is_some_and(|records| slot.unfired.len() >= records) {
                            emit(&mut naive.emitted, (key, window), slot, Firing::Early);
                        }
                        if slot.early_at.is_none() && !slot.unfired.is_empty() {
                            slot.early_at = emits.early_at(time.max(watermark), clock, window.end);
                        }
                    }
                }
                Step::Clock(now) => {
                    clock = now;
                    for (window, slot) in &mut open {
                        if slot.early_at.take_if(|at| emits.is_due(TimeDomain::Processing, *at, now as i64)).is_some()
                            && watermark < window.1.end.0
                            && !slot.unfired.is_empty()
                        {
                            emit(&mut naive.emitted, *window, slot, Firing::Early);
                        }
                    }
                }
                Step::Watermark(next) if next > watermark => {
                    for (window, slot) in &mut open {
                        if slot.early_at.take_if(|at| emits.is_due(TimeDomain::Event, *at, next)).is_some()
                            && !slot.unfired.is_empty()
                        {
                            emit(&mut naive.emitted, *window, slot, Firing::Early);
                        }
                        let ends = watermark < window.1.end.0 && window.1.end.0 <= next;
                        if ends && (spec.mode == AccumulationMode::Accumulating || !slot.unfired.is_empty()) {
                            emit(&mut naive.emitted, *window, slot, Firing::OnTime);
                        }
                        let over = (window.1.end + spec.allowed_lateness).0 <= next;
                        if over && !slot.unfired.is_empty() {
                            emit(&mut naive.emitted, *window, slot, Firing::Late);
                        }
                    }
                    watermark = next;
                    open.retain(|(_, window), _| (window.end + spec.allowed_lateness).0 > watermark);
                }
                _ => {}
            }
        }
        naive
    }
}
