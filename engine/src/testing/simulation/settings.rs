//! The settings of a simulation: its faults and times.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of a simulation: the faults and times to which it may subject a job. Each run draws how many
/// faults there are, between none and the settings: a run with few faults finds other bugs than one with many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationSettings {
    /// Number of workers, drawn anew at each start. Default 1 to 4.
    pub workers: RangeInclusive<usize>,
    /// Maximum number of crashes of the job, at any turn of any thread. Default 3.
    pub crashes: u32,
    /// Maximum number of times that the job is asked to stop, as by SIGTERM, and started again. Default 1.
    pub stops: u32,
    /// Length of an epoch; not below 20 ms. Default 20 to 100 ms.
    #[serde(with = "lengths")]
    pub checkpoint_interval: RangeInclusive<Duration>,
    /// Length of a turn. Default 1 µs to 1 ms.
    #[serde(with = "lengths")]
    pub turn: RangeInclusive<Duration>,
    /// Maximum chance, at each turn, that some thread stalls for a while, so that its messages come late. Default
    /// 0.02.
    pub stalls: f64,
    /// Length of a stall. Default 1 to 100 ms.
    #[serde(with = "lengths")]
    pub stall: RangeInclusive<Duration>,
    /// Maximum number of steps of a [`TestSource`](crate::testing::TestSource)'s partition that arrive together.
    /// Default 50.
    pub burst: usize,
    /// Time from one burst to the next. Default 100 µs to 20 ms.
    #[serde(with = "lengths")]
    pub gap: RangeInclusive<Duration>,
    /// Maximum distance in event time, in whole milliseconds, of two records of a partition that may be swapped;
    /// they are not swapped across a watermark. Default 0: none are swapped. The order of records of different
    /// partitions is always random.
    #[serde(with = "humantime_serde")]
    pub reorder: Duration,
    /// Length of an [`Outside`](super::Outside) call. Default 100 µs to 5 ms.
    #[serde(with = "lengths")]
    pub call: RangeInclusive<Duration>,
    /// Chance that a call takes as long as [`slow_call`](Self::slow_call). Default 0.1.
    pub slow_calls: f64,
    /// Length of a slow call; it exceeds the caller's deadline if this is longer than that. Default 10 ms to 1 s.
    #[serde(with = "lengths")]
    pub slow_call: RangeInclusive<Duration>,
    /// Chance that a call fails. Default 0.1.
    pub failed_calls: f64,
    /// Maximum number of turns; a job that has not ended by then is stuck. Default 1,000,000.
    pub max_turns: u64,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        let (micros, millis) = (Duration::from_micros, Duration::from_millis);
        Self {
            workers: 1..=4,
            crashes: 3,
            stops: 1,
            checkpoint_interval: millis(20)..=millis(100),
            turn: micros(1)..=millis(1),
            stalls: 0.02,
            stall: millis(1)..=millis(100),
            burst: 50,
            gap: micros(100)..=millis(20),
            reorder: Duration::ZERO,
            call: micros(100)..=millis(5),
            slow_calls: 0.1,
            slow_call: millis(10)..=millis(1000),
            failed_calls: 0.1,
            max_turns: 1_000_000,
        }
    }
}

impl SimulationSettings {
    /// Checks the settings. Returns all that cannot work, each with its value.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        if *self.workers.start() == 0 || self.workers.is_empty() {
            faults.push(format!("workers is {:?}: it must have at least one number, all above 0", self.workers));
        }
        for (field, range) in [
            ("checkpoint_interval", &self.checkpoint_interval),
            ("turn", &self.turn),
            ("stall", &self.stall),
            ("gap", &self.gap),
            ("call", &self.call),
            ("slow_call", &self.slow_call),
        ] {
            if range.is_empty() {
                faults.push(format!("{field} is {range:?}: its end must not be below its start"));
            }
        }
        for (field, chance) in
            [("stalls", self.stalls), ("slow_calls", self.slow_calls), ("failed_calls", self.failed_calls)]
        {
            if !(0.0..=1.0).contains(&chance) {
                faults.push(format!("{field} is {chance}: a chance is between 0 and 1"));
            }
        }
        for (field, is_zero) in [("burst", self.burst == 0), ("max_turns", self.max_turns == 0)] {
            if is_zero {
                faults.push(format!("{field} is 0: it must be above 0"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(format!("settings of a simulation: {}", faults.join("; "))) }
    }
}

/// Serialization of ranges of durations: `{"start": "20ms", "end": "100ms"}`.
mod lengths {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ends {
        #[serde(with = "humantime_serde")]
        start: Duration,
        #[serde(with = "humantime_serde")]
        end: Duration,
    }

    pub(super) fn serialize<S: Serializer>(range: &RangeInclusive<Duration>, to: S) -> Result<S::Ok, S::Error> {
        Ends { start: *range.start(), end: *range.end() }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RangeInclusive<Duration>, D::Error> {
        let Ends { start, end } = Ends::deserialize(from)?;
        Ok(start..=end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "they are what is refused")]
    fn settings_that_cannot_work_are_all_named() {
        let default = SimulationSettings::default;
        assert_eq!(default().check(), Ok(()));
        for (settings, says) in [
            (SimulationSettings { workers: 0..=2, ..default() }, "workers is 0..=2"),
            (SimulationSettings { workers: 3..=2, ..default() }, "workers is 3..=2"),
            (
                SimulationSettings { stall: Duration::from_secs(2)..=Duration::from_secs(1), ..default() },
                "stall is 2s..=1s: its end must not be below its start",
            ),
            (SimulationSettings { stalls: f64::NAN, ..default() }, "stalls is NaN"),
            (SimulationSettings { failed_calls: 1.5, ..default() }, "failed_calls is 1.5"),
            (SimulationSettings { burst: 0, ..default() }, "burst is 0"),
            (SimulationSettings { max_turns: 0, ..default() }, "max_turns is 0"),
        ] {
            let refused = settings.check().unwrap_err();
            assert!(refused.starts_with(&format!("settings of a simulation: {says}")), "{refused}");
        }
        let refused = SimulationSettings { burst: 0, max_turns: 0, ..default() }.check().unwrap_err();
        assert_eq!(refused.matches("is 0").count(), 2, "{refused}");
    }

    #[test]
    fn settings_are_data() {
        let settings =
            SimulationSettings { reorder: Duration::from_millis(30), crashes: 7, ..SimulationSettings::default() };
        let text = serde_json::to_string(&settings).unwrap();
        assert!(
            text.contains(r#""reorder":"30ms""#) && text.contains(r#""turn":{"start":"1us","end":"1ms"}"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<SimulationSettings>(&text).unwrap(), settings);
        let some: SimulationSettings = serde_json::from_str(r#"{"crashes": 7, "reorder": "30ms"}"#).unwrap();
        assert_eq!(some, settings);
        assert!(serde_json::from_str::<SimulationSettings>(r#"{"reorder_ms": 30}"#).is_err());
    }
}
