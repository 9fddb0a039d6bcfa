//! An oracle for the results of session windows, which divides the records of each key into sessions again at each
//! step.

use std::collections::{BTreeMap, BTreeSet};

use tidemill::prelude::*;
use tidemill::time::in_ms;
use tidemill::window::WindowSpec;

use super::naive::{Emits, Naive};
use testkit::script::{Event, Step, sorted};

type Session = (Window, Vec<u32>);

/// Returns the sessions of a key's records (time, id), each with the ids of its records. A session ends where no record
/// follows within the gap, or at the end of time.
pub fn sessions_of(events: &BTreeSet<(i64, u32)>, gap: i64) -> Vec<Session> {
    let events: Vec<(i64, u32)> = events.iter().copied().collect();
    let sessions =
        events.chunk_by(|one, next| next.0 < one.0.saturating_add(gap) || one.0.saturating_add(gap) == i64::MAX);
    let session = |events: &[(i64, u32)]| {
        let (first, last) = (events[0].0, events[events.len() - 1].0);
        let window = Window { start: EventTime(first), end: EventTime(last).plus_ms(gap) };
        (window, sorted(events.iter().map(|(_, id)| *id).collect()))
    };
    sessions.map(session).collect()
}

/// The records of a key whose sessions have not been removed, and the results that were emitted for them.
#[derive(Default)]
struct Kept {
    events: BTreeSet<(i64, u32)>,
    unfired: BTreeSet<u32>,
    /// Results that have been emitted and are retracted when they change.
    standing: BTreeMap<Window, Vec<u32>>,
    /// The time of the next early firing of each session.
    early_at: BTreeMap<Window, i64>,
}

impl Kept {
    fn sessions(&self, gap: i64) -> Vec<Session> {
        sessions_of(&self.events, gap)
    }

    fn unfired(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter().copied().filter(|id| self.unfired.contains(id)).collect()
    }

    /// Removes the entries of all sessions within `window` from `of` and returns them.
    fn within<T>(of: &mut BTreeMap<Window, T>, window: Window) -> Vec<(Window, T)> {
        of.extract_if(.., |inner, _| window.start <= inner.start && inner.end <= window.end).collect()
    }
}

pub struct Sessions {
    spec: WindowSpec,
    gap: i64,
    emits: Emits,
    keys: BTreeMap<u8, Kept>,
    watermark: i64,
    clock: u64,
    naive: Naive,
}

impl Sessions {
    /// Computes the output of the session windows of `spec`, with the trigger of `emits`.
    pub fn emitted(steps: &[Step], spec: WindowSpec, emits: Emits) -> Naive {
        let Assigner::Session { gap } = spec.assigner else { panic!("{:?}", spec.assigner) };
        let gap = in_ms(gap);
        let (keys, naive) = Default::default();
        let mut sessions = Self { spec, gap, emits, keys, watermark: i64::MIN, clock: 0, naive };
        for step in steps.iter().chain([&Step::Watermark(i64::MAX)]) {
            match *step {
                Step::Event(event) => sessions.on_event(event),
                Step::Watermark(next) if next > sessions.watermark => sessions.on_watermark(next),
                Step::Clock(now) => sessions.on_clock(now),
                _ => {}
            }
        }
        sessions.naive
    }

    fn forgotten_at(&self, window: Window) -> i64 {
        (window.end + self.spec.allowed_lateness).0
    }

    fn on_event(&mut self, Event { time, id, key, .. }: Event) {
        let own = Window { start: EventTime(time), end: EventTime(time).plus_ms(self.gap) };
        let over = self.forgotten_at(own) <= self.watermark;
        let kept = self.keys.entry(key).or_default();
        let overlaps = |(window, _): &Session| {
            (window.start < own.end && own.start < window.end) || window.end.min(own.end) == EventTime::MAX
        };
        if over && !kept.sessions(self.gap).iter().any(overlaps) {
            return self.naive.late.push(id);
        }
        kept.events.insert((time, id));
        kept.unfired.insert(id);
        let (window, ids) = kept.sessions(self.gap).into_iter().find(|(_, ids)| ids.contains(&id)).unwrap();
        // Results of the sessions that were merged into this one are retracted. The merged session fires early as soon
        // as the first of these would have.
        if let Some(early_at) = Kept::within(&mut kept.early_at, window).into_iter().map(|(_, at)| at).min() {
            kept.early_at.insert(window, early_at);
        }
        let same = kept.standing.remove_entry(&window);
        for (grown, before) in Kept::within(&mut kept.standing, window) {
            self.naive.emitted.push((key, grown, Firing::Retraction, before));
        }
        kept.standing.extend(same);
        let is_full = self.emits.records.is_some_and(|records| kept.unfired(&ids).len() >= records);
        if window.end.0 <= self.watermark {
            if !self.emits.late_at_end {
                self.emit(key, window, &ids, Firing::Late);
            }
        } else if is_full {
            self.emit(key, window, &ids, Firing::Early);
        } else if !kept.early_at.contains_key(&window)
            && let Some(at) = self.emits.early_at(time.max(self.watermark), self.clock, window.end)
        {
            kept.early_at.insert(window, at);
        }
    }

    fn emit(&mut self, key: u8, window: Window, ids: &[u32], firing: Firing) {
        let kept = self.keys.get_mut(&key).unwrap();
        let unfired = kept.unfired(ids);
        unfired.iter().for_each(|id| _ = kept.unfired.remove(id));
        let emitted = if self.spec.mode == AccumulationMode::Discarding { unfired } else { ids.to_vec() };
        if self.spec.mode == AccumulationMode::Retracting {
            let before = kept.standing.insert(window, emitted.clone());
            self.naive.emitted.extend(before.map(|before| (key, window, Firing::Retraction, before)));
        }
        self.naive.emitted.push((key, window, firing, emitted));
    }

    /// Returns the sessions of all keys.
    fn all(&self) -> Vec<(u8, Session)> {
        let of_key = |(key, kept): (&u8, &Kept)| -> Vec<(u8, Session)> {
            kept.sessions(self.gap).into_iter().map(|session| (*key, session)).collect()
        };
        self.keys.iter().flat_map(of_key).collect()
    }

    /// Fires each session whose early firing is due, if it has new records and has not ended.
    fn early(&mut self, of: TimeDomain, now: i64) {
        for (key, (window, ids)) in self.all() {
            let kept = self.keys.get_mut(&key).unwrap();
            let is_due = kept.early_at.get(&window).is_some_and(|at| self.emits.is_due(of, *at, now));
            if is_due {
                kept.early_at.remove(&window);
                if self.watermark < window.end.0 && !kept.unfired(&ids).is_empty() {
                    self.emit(key, window, &ids, Firing::Early);
                }
            }
        }
    }

    fn on_clock(&mut self, now: u64) {
        self.clock = now;
        self.early(TimeDomain::Processing, now as i64);
    }

    fn on_watermark(&mut self, next: i64) {
        self.early(TimeDomain::Event, next);
        for (key, (window, ids)) in self.all() {
            let ends = self.watermark < window.end.0 && window.end.0 <= next;
            if ends && (self.spec.mode == AccumulationMode::Accumulating || !self.keys[&key].unfired(&ids).is_empty()) {
                self.emit(key, window, &ids, Firing::OnTime);
            }
            if self.forgotten_at(window) <= next {
                if !self.keys[&key].unfired(&ids).is_empty() {
                    self.emit(key, window, &ids, Firing::Late);
                }
                let kept = self.keys.get_mut(&key).unwrap();
                kept.events.retain(|(_, id)| !ids.contains(id));
                Kept::within(&mut kept.standing, window);
                Kept::within(&mut kept.early_at, window);
            }
        }
        self.watermark = next;
    }
}
