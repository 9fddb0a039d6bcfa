//! The schedule: which thread has the next turn, and what time it is.
//!
//! ```text
//! a thread rests ─▶ its turn took a while ─▶ does the start's fate come now? ─▶ which can go on? ─▶ the seed picks one
//!                                                                                └─ none: time advances to next due
//! ```
//! One thread has the turn and all others wait, so all interaction between threads happens in the order of turns.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::Rng;

use super::faults::{Fate, Faults};
use super::table::{Place, SlotTable, State};
use crate::clock::Clock;
use crate::locks::{lock, whole};
use crate::record::Arrival;
use crate::testing::stage::Pace;
use crate::threads::{self, Rest, Scheduler};

/// The number that stands for no slot: no thread has the turn.
const NOBODY: usize = usize::MAX;

pub(super) struct Schedule {
    clock: Clock,
    /// The instant from which time is counted: only differences of instants matter.
    start: Instant,
    micros: AtomicU64,
    current: AtomicUsize,
    table: Mutex<SlotTable>,
    all_ended: Condvar,
}

/// The outcome of a start.
pub(super) struct Ended {
    pub(super) fate: Fate,
    pub(super) turns: u64,
    pub(super) stuck: Option<String>,
}

impl Schedule {
    pub(super) fn new(clock: Clock, faults: Faults) -> Self {
        let table = SlotTable {
            faults,
            begun: false,
            slots: Vec::new(),
            turns: 0,
            digest: DefaultHasher::new(),
            fate: (Fate::End, u64::MAX),
            fated: false,
            lost: false,
            stuck: None,
            stop: Arc::default(),
        };
        Self {
            clock,
            start: threads::now(),
            micros: AtomicU64::new(0),
            current: AtomicUsize::new(NOBODY),
            table: Mutex::new(table),
            all_ended: Condvar::new(),
        }
    }

    fn table(&self) -> MutexGuard<'_, SlotTable> {
        lock(&self.table)
    }

    /// Begins the run, with these faults.
    pub(super) fn set_out(&self, faults: Faults) {
        let mut table = self.table();
        (table.faults, table.begun) = (faults, true);
    }

    /// Draws from the faults of the run.
    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Faults) -> T) -> T {
        draw(&mut self.table().faults)
    }

    pub(super) fn digest(&self) -> u64 {
        self.table().digest.finish()
    }

    /// Prepares a start of the job. Returns the flag that asks it to stop.
    pub(super) fn restart(&self) -> Arc<AtomicBool> {
        let mut table = self.table();
        table.fate = table.faults.fate();
        table.slots.clear();
        (table.turns, table.fated, table.lost, table.stop) = (0, false, false, Arc::default());
        Arc::clone(&table.stop)
    }

    /// Waits until all threads of the start have ended.
    pub(super) fn ended(&self) -> Ended {
        let mut table = self.table();
        while table.slots.iter().any(|place| !matches!(place.state, State::Ended)) {
            table = whole(self.all_ended.wait(table));
        }
        let fate = if table.fated { table.fate.0 } else { Fate::End };
        Ended { fate, turns: table.turns, stuck: table.stuck.take() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    fn pass(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let now = self.micros.fetch_add(micros, Ordering::Relaxed) + micros;
        self.clock.set(Arrival(now));
    }

    /// Ends a turn, and begins the next one, of any thread.
    fn hand_on(&self, table: &mut SlotTable, last: usize) {
        let took = table.faults.turn();
        self.pass(took);
        table.turns += 1;
        self.world(table);
        let next = loop {
            let now = self.now();
            table
                .slots
                .iter_mut()
                .for_each(|place| place.stalled_until = place.stalled_until.filter(|until| *until > now));
            let ready: Vec<usize> = (0..table.slots.len()).filter(|slot| table.is_ready(*slot, now)).collect();
            if let Some(next) = table.pick(&ready, last) {
                break next;
            }
            match table.due().map(|due| due.saturating_duration_since(now)) {
                // At least a microsecond: a time between two of them is due at the second one.
                Some(wait) => self.pass(wait.max(Duration::from_micros(1))),
                None if table.slots.iter().all(|place| matches!(place.state, State::Ended)) => break NOBODY,
                None if table.lost => break NOBODY,
                None => table.give_up("every thread waits for another one"),
            }
        };
        (next, self.micros.load(Ordering::Relaxed)).hash(&mut table.digest);
        self.current.store(next, Ordering::Release);
        match table.slots.get_mut(next) {
            None => self.all_ended.notify_all(),
            Some(place) => {
                (place.state, place.stirred) = (State::Running, false);
                // A thread that has not taken its slot yet will find that it has the turn.
                if let Some(thread) = place.thread.as_ref().filter(|_| next != last) {
                    thread.unpark();
                }
            }
        }
    }

    /// Applies the faults that come now.
    fn world(&self, table: &mut SlotTable) {
        if table.turns >= table.fate.1 && !table.fated {
            table.fated = true;
            match table.fate.0 {
                Fate::Crash => table.lost = true,
                Fate::Stop => table.stop.store(true, Ordering::Relaxed),
                Fate::End => {}
            }
        }
        if table.turns >= table.faults.settings().max_turns && table.stuck.is_none() {
            table.give_up("it has had all turns there are, and goes on");
        }
        if let Some(time) = table.faults.stall() {
            let slots = table.slots.len();
            let until = self.now() + time;
            let at = table.faults.chance.random_range(0..slots);
            table.slots[at].stalled_until = Some(until);
        }
    }

    fn wait_for_turn(&self, slot: usize) {
        while self.current.load(Ordering::Acquire) != slot {
            std::thread::park();
        }
    }
}

impl Pace for Schedule {
    fn has_begun(&self) -> bool {
        self.table().begun
    }

    fn arrived(&self, left: usize) -> usize {
        self.draw(|faults| faults.arrived(left))
    }

    fn gap(&self) -> Duration {
        self.draw(Faults::gap)
    }

    /// Adds `what` to the digest.
    fn note(&self, what: &str) {
        what.hash(&mut self.table().digest);
    }
}

impl Scheduler for Schedule {
    fn announce(&self, by: Option<usize>, name: &str) -> usize {
        let mut table = self.table();
        // A thread that a thread of a worker has started belongs to that worker.
        let owner = by.map(|by| table.slots.get(by).and_then(|place| place.owner).unwrap_or(by));
        table.slots.push(Place {
            name: name.to_owned(),
            owner,
            thread: None,
            state: State::Announced,
            stalled_until: None,
            stirred: false,
            hurried: false,
        });
        table.slots.len() - 1
    }

    fn begin(&self, slot: usize) {
        let mut table = self.table();
        if let Some(place) = table.slots.get_mut(slot) {
            place.thread = Some(std::thread::current());
        }
        // The last worker to take its slot begins the first turn.
        let all_here = table.slots.iter().all(|place| place.thread.is_some());
        if all_here && table.turns == 0 && self.current.load(Ordering::Acquire) == NOBODY {
            self.hand_on(&mut table, NOBODY);
        }
        drop(table);
        self.wait_for_turn(slot);
    }

    fn rest(&self, slot: usize, rest: Rest) -> bool {
        let mut table = self.table();
        if !matches!(rest, Rest::Idle { .. }) {
            table.stir(slot);
        }
        if let Some(place) = table.slots.get_mut(slot) {
            place.state = State::Resting(rest);
        }
        self.hand_on(&mut table, slot);
        drop(table);
        self.wait_for_turn(slot);
        !self.table().lost
    }

    fn end(&self, slot: usize) {
        let mut table = self.table();
        table.stir(slot);
        if let Some(place) = table.slots.get_mut(slot) {
            place.state = State::Ended;
        }
        // A thread that was given up outlives its worker: it has to notice that its queue has no senders any more.
        table.slots.iter_mut().filter(|place| place.owner == Some(slot)).for_each(|place| place.hurried = true);
        self.hand_on(&mut table, slot);
    }

    fn ends(&self, slot: usize) -> bool {
        let mut table = self.table();
        let Some(place) = table.slots.get_mut(slot) else { return true };
        place.hurried = true;
        matches!(place.state, State::Ended)
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed()
    }
}
