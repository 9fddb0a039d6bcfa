//! What a simulated world may do to a job, and how much of it.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a simulated world may do to a job. Each run draws how much of it there is, between nothing and what is said
/// here: a calm world finds other faults than a stormy one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationSettings {
    /// Workers, drawn anew at each start. Default 1 to 4.
    pub workers: RangeInclusive<usize>,
    /// How often the job is killed at most, at any turn of any thread. Default 3.
    pub crashes: u32,
    /// How often it is asked to stop at most, as by SIGTERM, and started again. Default 1.
    pub stops: u32,
    /// How long an epoch is; not below 20 ms. Default 20 to 100 ms.
    #[serde(with = "lengths")]
    pub checkpoint_interval: RangeInclusive<Duration>,
    /// How long a turn takes. Default 1 µs to 1 ms.
    #[serde(with = "lengths")]
    pub turn: RangeInclusive<Duration>,
    /// The chance, at each turn, that some thread stands still for a while: what it has to say comes late. Default 0.02.
    pub stalls: f64,
    /// For how long. Default 1 to 100 ms.
    #[serde(with = "lengths")]
    pub stall: RangeInclusive<Duration>,
    /// How many steps of a partition of a [`TestSource`](crate::testing::TestSource) arrive together at most. Default 50.
    pub burst: usize,
    /// How long it is from one burst to the next. Default 100 µs to 20 ms.
    #[serde(with = "lengths")]
    pub gap: RangeInclusive<Duration>,
    /// Records of a partition change places where their event times are no further apart than this, in whole milliseconds, and
    /// no watermark is between them; none does at 0, the default. In what order records of different partitions come is drawn
    /// anyway.
    #[serde(with = "humantime_serde")]
    pub reorder: Duration,
    /// How long an [`Outside`](super::Outside) call takes. Default 100 µs to 5 ms.
    #[serde(with = "lengths")]
    pub call: RangeInclusive<Duration>,
    /// The chance that one takes as long as [`slow_call`](Self::slow_call). Default 0.1.
    pub slow_calls: f64,
    /// How long a slow call takes: beyond its deadline, if this is. Default 10 ms to 1 s.
    #[serde(with = "lengths")]
    pub slow_call: RangeInclusive<Duration>,
    /// The chance that a call fails. Default 0.1.
    pub failed_calls: f64,
    /// After so many turns a job that has not come to its end is stuck. Default 1,000,000.
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

/// Ranges of lengths of time: `{"start": "20ms", "end": "100ms"}`.
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
