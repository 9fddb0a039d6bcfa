//! Simulates a factory's pumps, each measured once a second. Reading `i` is a pure function of `i`, so that a
//! restored run generates the same readings. The signals look like those of the Skoltech Anomaly Benchmark.

use std::f64::consts::TAU;

use compact_str::format_compact;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::signals::Reading;

/// Event time of the first second: 2026-01-01, in ms since the Unix epoch.
const START_MS: i64 = 1_767_225_600_000;
/// Length of an anomaly of a machine, in seconds.
const SPELL: u64 = 60;
/// Probability that a machine has an anomaly in any stretch of that length.
const SPELL_CHANCE: f64 = 0.01;

/// A simulated factory. It is cheap to clone.
#[derive(Clone)]
pub struct Factory {
    seed: u64,
    machines: u64,
    chance: ChaCha8Rng,
}

impl Factory {
    pub fn new(seed: u64, machines: u64) -> Self {
        Self { seed, machines, chance: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Returns reading `index`: the one of machine `index mod machines`, in second `index / machines`.
    pub fn reading(&self, index: u64) -> Reading {
        let (machine, second) = (index % self.machines, index / self.machines);
        let mut chance = self.chance.clone();
        chance.set_stream(index);
        let anomaly = self.has_spell(machine, second / SPELL);
        let phase = (second as f64 / 600.0 + machine as f64 / self.machines as f64) * TAU;
        let mut around = |mean: f64, deviation: f64| {
            let noise: f64 = StandardNormal.sample(&mut chance);
            ((mean + deviation * noise) * 1e6).round() / 1e6
        };
        // In an anomaly the valve closes, and the engine shakes and heats up.
        let (shake, heat, closed) = if anomaly { (3.0, 6.0, 0.6) } else { (1.0, 0.0, 1.0) };
        Reading {
            machine_id: format_compact!("pump-{machine:05}"),
            ts: START_MS + second as i64 * 1000 + (machine * 1000 / self.machines) as i64,
            accelerometer_1: around(0.202, 0.001 * shake),
            accelerometer_2: around(0.277, 0.001 * shake),
            current: around(2.4 + 0.2 * phase.sin(), 0.4 * shake),
            pressure: around(0.05, 0.3),
            temperature: around(90.0 + phase.sin() + heat, 0.1),
            thermocouple: around(26.8 + heat / 4.0, 0.02),
            voltage: around(233.0, 9.0),
            flow_rate: around(122.0 * closed, 0.4 * shake),
            anomaly: anomaly.into(),
        }
    }

    fn has_spell(&self, machine: u64, spell: u64) -> bool {
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed ^ 1);
        chance.set_stream(spell * self.machines + machine);
        chance.random_bool(SPELL_CHANCE)
    }
}
