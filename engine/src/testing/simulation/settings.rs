//! What a simulated world may do to a job, and how much of it.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What a simulated world may do to a job. Each run draws how much of it there is, between nothing and what is said
/// here: a calm world finds other faults than a stormy one.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulationSettings {
    /// Workers, drawn anew at each start. Default 1 to 4.
    pub workers: RangeInclusive<usize>,
    /// How often the job is killed at most, at any turn of any thread. Default 3.
    pub crashes: u32,
    /// How often it is asked to stop at most, as by SIGTERM, and started again. Default 1.
    pub stops: u32,
    /// How long an epoch is; not below 20 ms. Default 20 to 100 ms.
    pub checkpoint_interval: RangeInclusive<Duration>,
    /// How long a turn takes. Default 1 µs to 1 ms.
    pub turn: RangeInclusive<Duration>,
    /// The chance, at each turn, that some thread stands still for a while: what it has to say comes late. Default 0.02.
    pub stalls: f64,
    /// For how long. Default 1 to 100 ms.
    pub stall: RangeInclusive<Duration>,
    /// How many steps of a partition of a [`TestSource`](crate::testing::TestSource) arrive together at most. Default 50.
    pub burst: usize,
    /// How long it is from one burst to the next. Default 100 µs to 20 ms.
    pub gap: RangeInclusive<Duration>,
    /// Records of a partition change places where their event times are no further apart than this and no watermark is
    /// between them; none does at 0, the default. In what order records of different partitions come is drawn anyway.
    pub reorder_ms: i64,
    /// How long an [`Outside`](super::Outside) call takes. Default 100 µs to 5 ms.
    pub call: RangeInclusive<Duration>,
    /// The chance that one takes as long as [`slow_call`](Self::slow_call). Default 0.1.
    pub slow_calls: f64,
    /// How long a slow call takes: beyond its deadline, if this is. Default 10 ms to 1 s.
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
            reorder_ms: 0,
            call: micros(100)..=millis(5),
            slow_calls: 0.1,
            slow_call: millis(10)..=millis(1000),
            failed_calls: 0.1,
            max_turns: 1_000_000,
        }
    }
}
