//! The times at which operators of a worker want to be called again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use timely::scheduling::Activator;

use crate::threads;

/// The times at which operators of a worker want to be called again.
#[derive(Default)]
pub(crate) struct Alarms {
    /// The operators by time; the second number, of alarms set before, makes the keys unique.
    set: BTreeMap<(Instant, u64), Activator>,
    count: u64,
}

impl Alarms {
    pub(crate) fn set(&mut self, at: Instant, activator: Activator) {
        self.count += 1;
        self.set.insert((at, self.count), activator);
    }

    /// Activates the operators whose time has come. Returns how long it is until the next alarm, if there is one.
    pub(crate) fn ring(&mut self) -> Option<Duration> {
        let (first, _) = self.set.first_key_value()?;
        let now = threads::now();
        if first.0 <= now {
            let later = self.set.split_off(&(now, u64::MAX));
            std::mem::replace(&mut self.set, later).into_values().for_each(|activator| activator.activate());
        }
        self.set.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now))
    }
}
