//! The slots of a simulation: the thread in each, what it waits for, and whether it can go on.

use std::hash::DefaultHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Thread;
use std::time::Instant;

use rand::Rng;

use super::faults::{Fate, Faults};
use crate::threads::Rest;

pub(super) struct SlotTable {
    pub(super) faults: Faults,
    pub(super) begun: bool,
    pub(super) slots: Vec<Place>,
    pub(super) turns: u64,
    pub(super) digest: DefaultHasher,
    pub(super) fate: (Fate, u64),
    /// Whether the fate has come.
    pub(super) fated: bool,
    /// Whether the threads must not do anything any more, by a crash or because the job is `stuck`, for this reason.
    pub(super) lost: bool,
    pub(super) stuck: Option<String>,
    pub(super) stop: Arc<AtomicBool>,
}

pub(super) struct Place {
    pub(super) name: String,
    /// The slot of the worker that the thread belongs to; `None` for a worker.
    pub(super) owner: Option<usize>,
    pub(super) thread: Option<Thread>,
    pub(super) state: State,
    pub(super) stalled_until: Option<Instant>,
    /// Whether another thread has done something since the last turn.
    pub(super) stirred: bool,
    /// Whether another thread waits for it to end, or its worker has ended.
    pub(super) hurried: bool,
}

pub(super) enum State {
    Announced,
    Running,
    Resting(Rest),
    Ended,
}

impl SlotTable {
    pub(super) fn is_ready(&self, slot: usize, now: Instant) -> bool {
        let Some(place) = self.slots.get(slot) else { return false };
        if !self.lost && place.stalled_until.is_some() {
            return false;
        }
        match &place.state {
            State::Ended | State::Running => false,
            State::Announced | State::Resting(Rest::Busy) => true,
            State::Resting(Rest::End(other)) => {
                self.slots.get(*other).is_none_or(|other| matches!(other.state, State::Ended))
            }
            State::Resting(_) if self.lost => true,
            State::Resting(Rest::Idle { until }) => place.stirred || *until <= now,
            State::Resting(Rest::Until(until)) => *until <= now,
            State::Resting(Rest::Queue(ready)) => place.hurried || ready(),
        }
    }

    pub(super) fn pick(&mut self, ready: &[usize], last: usize) -> Option<usize> {
        if ready.contains(&last) && self.faults.persists() {
            return Some(last);
        }
        (!ready.is_empty()).then(|| ready[self.faults.chance.random_range(0..ready.len())])
    }

    /// Returns the next time at which a thread that waits for a time can go on.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |place: &Place| {
            let resting = match &place.state {
                State::Resting(Rest::Idle { until } | Rest::Until(until)) => Some(*until),
                _ => None,
            };
            match (&place.state, place.stalled_until) {
                (State::Ended, _) => None,
                (State::Resting(Rest::Until(until)), Some(stalled)) => Some(stalled.max(*until)),
                (State::Resting(Rest::Idle { until }), Some(stalled)) if !place.stirred => Some(stalled.max(*until)),
                (_, stalled) => stalled.or(resting),
            }
        };
        self.slots.iter().filter_map(due).min()
    }

    /// Gives the job up, as it does not come to its end, and records what its threads wait for.
    pub(super) fn give_up(&mut self, why: &str) {
        let waiting = self.slots.iter().filter(|place| !matches!(place.state, State::Ended)).map(Place::describe);
        let waiting = waiting.collect::<Vec<_>>().join("\n  ");
        self.stuck = Some(format!("the job is stuck after {} turns: {why}\n  {waiting}", self.turns));
        self.lost = true;
    }

    /// Notes that a turn of `slot` did something: the threads that may have waited for that look again.
    pub(super) fn stir(&mut self, slot: usize) {
        let owner = self.slots.get(slot).and_then(|place| place.owner);
        for (at, place) in self.slots.iter_mut().enumerate() {
            place.stirred |= match owner {
                None => place.owner.is_none() && at != slot,
                Some(owner) => at == owner,
            };
        }
    }
}

impl Place {
    pub(super) fn describe(&self) -> String {
        let state = match &self.state {
            State::Announced => "has not begun",
            State::Running => "has the turn",
            State::Ended => "has ended",
            State::Resting(Rest::Busy) => "could go on",
            State::Resting(Rest::Idle { .. }) => "has nothing to do",
            State::Resting(Rest::Until(_)) => "waits for time",
            State::Resting(Rest::Queue(_)) => "waits for a message, or for room for one",
            State::Resting(Rest::End(_)) => "waits for a thread to end",
        };
        format!("{}: {state}", self.name)
    }
}
