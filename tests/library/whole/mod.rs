//! Whole programs with one or two inputs in simulated worlds, and the scripts of their inputs: events with equal
//! times, events behind the watermark, a partition that becomes idle and active again, and times close to the limits
//! of `i64`.

mod clock;
mod inputs;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidemill::prelude::millis;
use tidemill::testing::{Simulation, TestSource};

use testkit::script::Event;

/// The time by which watermarks are behind the events.
const BEHIND_MS: i64 = 20;
/// The partition that is idle, except for single events.
const AWAY: usize = 2;

/// The input of a program.
#[derive(Clone, Debug)]
pub struct Script {
    /// The events in their order of arrival, each with the value by which they were brought into this order. Ids count
    /// from 0 in the order of event time.
    events: Vec<(i64, Event)>,
    /// Number of events between two watermarks.
    every: usize,
    /// One of this number of events belongs to the partition that is otherwise idle.
    away: usize,
    /// Whether events may be late, including those of the idle partition after the watermark has passed them.
    is_late: bool,
}

/// Generates scripts. In half of them no event is late; in the others events are up to 100 ms out of order.
pub fn scripts() -> impl Strategy<Value = Script> {
    let start = prop_oneof![1 => Just(i64::MIN), 4 => -300..0_i64, 1 => Just(i64::MAX - 300)];
    let step = prop_oneof![1 => Just(0_i64), 2 => 1..8_i64, 1 => 0..20_i64];
    let event = (step, 0..1_000_i64, 0..3_u8, -3..4_i32);
    (start, prop::collection::vec(event, 10..150), 1..25_usize, 2..30_usize, any::<bool>()).prop_map(
        |(mut now, events, every, away, is_late)| {
            let most = if is_late { 5 * BEHIND_MS } else { BEHIND_MS };
            let mut events: Vec<(i64, Event)> = (0..)
                .zip(events)
                .map(|(id, (step, early, key, value))| {
                    now = now.saturating_add(step);
                    (now.saturating_add(early % (most + 1)), Event { time: now, id, key, value })
                })
                .collect();
            events.sort_by_key(|(place, _)| *place);
            Script { events, every, away, is_late }
        },
    )
}

impl Script {
    /// Returns all events in the order of event time.
    fn all(&self) -> Vec<Event> {
        let mut all: Vec<Event> = self.events.iter().map(|(_, event)| *event).collect();
        all.sort();
        all
    }

    fn by_key(&self) -> BTreeMap<u8, Vec<Event>> {
        grouped(self.all(), |event| event.key)
    }

    /// Returns the watermark that follows the event at position `at`, if one does. In scripts without late events it is
    /// as high as possible: the least time of all later events, but below the end of time, after which every event is
    /// late.
    fn watermark(&self, at: usize) -> Option<i64> {
        let to_come = self.events[at + 1..].iter().map(|(_, event)| event.time).min().filter(|_| !self.is_late);
        let behind = || self.events[at].0.saturating_sub(BEHIND_MS);
        (at % self.every == self.every - 1).then(|| to_come.unwrap_or_else(behind).min(i64::MAX - 1))
    }

    /// Fills the sources, each of which has two partitions and the idle one. Returns the events that may be late: all
    /// others are at or after every watermark that an operator can have when it sees them.
    fn feed(&self, sources: &[TestSource<Event>]) -> BTreeSet<u32> {
        sources.iter().for_each(|source| source.idle(AWAY));
        let last = (0..self.events.len()).filter_map(|at| self.watermark(at)).max().unwrap_or(i64::MIN);
        let (mut watermark, mut late) = (i64::MIN, BTreeSet::new());
        for (at, (_, event)) in self.events.iter().enumerate() {
            let source = &sources[event.id as usize / 2 % sources.len()];
            if at % self.away == 1 && (self.is_late || event.time >= last) {
                source.push_to(AWAY, event.time, *event);
                source.idle(AWAY);
                late.extend((event.time < last).then_some(event.id));
            } else {
                source.push_to(event.id as usize % 2, event.time, *event);
                late.extend((event.time < watermark).then_some(event.id));
            }
            if let Some(next) = self.watermark(at) {
                watermark = watermark.max(next);
                sources.iter().for_each(|s| (0..2).for_each(|partition| s.watermark_of(partition, next)));
            }
        }
        late
    }
}

/// Returns the simulated world of a seed, with more crashes, stalls and reordering than by default.
fn world(seed: u64, state_memory: Option<u64>) -> Simulation {
    let mut sim = Simulation::new(seed);
    sim.state_memory(state_memory);
    let settings = sim.settings();
    (settings.crashes, settings.stalls, settings.reorder) = (5, 0.1, millis(15));
    sim
}

/// Groups the items by key. Each group keeps their order.
fn grouped<T>(items: Vec<T>, key: impl Fn(&T) -> u8) -> BTreeMap<u8, Vec<T>> {
    let mut groups = BTreeMap::<u8, Vec<T>>::new();
    items.into_iter().for_each(|item| groups.entry(key(&item)).or_default().push(item));
    groups
}
