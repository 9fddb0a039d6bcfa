//! The random choices of a simulation: the faults and times of one run, within the settings.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::settings::SimulationSettings;

/// The fate of a start of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The job runs until its end.
    End,
    Crash,
    Stop,
}

/// The faults of one run, and the random numbers of its seed.
pub(super) struct Faults {
    pub(super) chance: ChaCha8Rng,
    settings: SimulationSettings,
    crashes: u32,
    stops: u32,
    stalls: f64,
    /// The chance that a thread that can go on gets the next turn too.
    persistence: f64,
    burst: usize,
}

impl Faults {
    /// A crash or stop comes within this power of two of turns; a shorter run ends before it.
    const LATEST: u32 = 12;

    pub(super) fn new(mut chance: ChaCha8Rng, settings: SimulationSettings) -> Self {
        Self {
            crashes: chance.random_range(0..=settings.crashes),
            stops: chance.random_range(0..=settings.stops),
            stalls: settings.stalls * chance.random::<f64>(),
            persistence: chance.random_range(0.0..0.9),
            burst: chance.random_range(1..=settings.burst.max(1)),
            settings,
            chance,
        }
    }

    pub(super) fn settings(&self) -> &SimulationSettings {
        &self.settings
    }

    pub(super) fn time(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (least, most) = (micros(range.start()), micros(range.end()));
        Duration::from_micros(self.chance.random_range(least..=most.max(least)))
    }

    /// Draws the fate of the next start, and the turn at which it comes.
    pub(super) fn fate(&mut self) -> (Fate, u64) {
        let fates = self.crashes + self.stops;
        if fates == 0 {
            return (Fate::End, u64::MAX);
        }
        let fate = if self.chance.random_range(0..fates) < self.crashes { Fate::Crash } else { Fate::Stop };
        match fate {
            Fate::Crash => self.crashes -= 1,
            _ => self.stops -= 1,
        }
        // Independent of the length of the run: some come early, when most can go wrong, some late, and some never.
        let by = 1 << self.chance.random_range(4..=Self::LATEST);
        (fate, self.chance.random_range(1..=by))
    }

    pub(super) fn turn(&mut self) -> Duration {
        self.time(&self.settings.turn.clone())
    }

    /// Draws whether a thread stalls now, and for how long.
    pub(super) fn stall(&mut self) -> Option<Duration> {
        self.chance.random_bool(self.stalls.clamp(0.0, 1.0)).then(|| self.time(&self.settings.stall.clone()))
    }

    pub(super) fn persists(&mut self) -> bool {
        self.chance.random_bool(self.persistence)
    }

    /// Draws how many of the next `left` steps of a partition have arrived.
    pub(super) fn arrived(&mut self, left: usize) -> usize {
        self.chance.random_range(0..=self.burst).min(left)
    }

    pub(super) fn gap(&mut self) -> Duration {
        self.time(&self.settings.gap.clone())
    }

    /// Draws how long a call takes, and whether it is answered.
    pub(super) fn call(&mut self) -> (Duration, bool) {
        let slow = self.chance.random_bool(self.settings.slow_calls.clamp(0.0, 1.0));
        let range = if slow { self.settings.slow_call.clone() } else { self.settings.call.clone() };
        (self.time(&range), !self.chance.random_bool(self.settings.failed_calls.clamp(0.0, 1.0)))
    }
}
