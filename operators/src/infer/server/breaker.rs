//! A circuit breaker: a server that fails is left alone for a while, then asked with one call at a time.
//!
//! ```text
//!            `failures` of the last `window` calls failed
//!   closed ─────────────────────────────────────────────▶ open, for `open_for`
//!     ▲                                                    │    ▲ twice as long as the last time
//!     └── `probes` calls in a row succeed ── half open ◀───┘    │
//!                                               └─ one fails ───┘
//! ```
//! Invariant: while it is half open there is at most one call under way. Calls admitted before a change of state say
//! nothing about the state after it: their results are dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// When calls to a server are given up for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitSettings {
    /// The circuit opens when this many of the last [`window`](Self::window) calls failed; default 5.
    pub failures: usize,
    /// How many calls are looked at; default 10.
    pub window: usize,
    /// How long no call is made once it has opened; default 500 ms. Twice as long each time a probe fails.
    #[serde(with = "humantime_serde")]
    pub open_for: Duration,
    /// The longest of those times; default 5 s.
    #[serde(with = "humantime_serde")]
    pub max_open_for: Duration,
    /// How many probes in a row must succeed before it closes; default 2. They are made one at a time.
    pub probes: usize,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        let (open_for, max_open_for) = (Duration::from_millis(500), Duration::from_secs(5));
        Self { failures: 5, window: 10, open_for, max_open_for, probes: 2 }
    }
}

/// Where a circuit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Circuit {
    /// Calls are made.
    Closed,
    /// No call is made.
    Open,
    /// One call at a time is made, to see whether the server is back.
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Instant, spell: Duration },
    HalfOpen { probing: bool, passed: usize, spell: Duration },
}

/// A call that was let through; its result is wanted.
#[derive(Debug)]
pub(super) struct Admission {
    /// The state it belongs to.
    era: u64,
}

pub(super) struct Breaker {
    settings: CircuitSettings,
    state: State,
    /// Grows with each change of state.
    era: u64,
    /// Whether each of the last calls failed, oldest first.
    failed: VecDeque<bool>,
}

impl Breaker {
    pub(super) fn new(settings: CircuitSettings) -> Self {
        Self { settings, state: State::Closed, era: 0, failed: VecDeque::new() }
    }

    pub(super) fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.era += 1;
        self.failed.clear();
    }

    /// Whether a call may be made; if not, how long it will be until one is tried at the earliest.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        if let State::Open { until, spell } = self.state {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(left);
            }
            self.change(State::HalfOpen { probing: false, passed: 0, spell });
        }
        if let State::HalfOpen { probing, .. } = &mut self.state {
            if *probing {
                return Err(Duration::ZERO);
            }
            *probing = true;
        }
        Ok(Admission { era: self.era })
    }

    /// What became of a call. True when that changed where the circuit is.
    pub(super) fn done(&mut self, admission: Admission, now: Instant, good: bool) -> bool {
        if admission.era != self.era {
            return false;
        }
        let CircuitSettings { failures, window, open_for, max_open_for, probes } = self.settings;
        match (&mut self.state, good) {
            (State::Closed, _) => {
                self.failed.push_back(!good);
                if self.failed.len() > window {
                    self.failed.pop_front();
                }
                if self.failed.iter().filter(|failed| **failed).count() < failures {
                    return false;
                }
                self.change(State::Open { until: now + open_for, spell: open_for });
            }
            (State::HalfOpen { passed, probing, .. }, true) => {
                *passed += 1;
                *probing = false;
                if *passed < probes {
                    return false;
                }
                self.change(State::Closed);
            }
            (State::HalfOpen { spell, .. }, false) => {
                let spell = spell.saturating_mul(2).min(max_open_for);
                self.change(State::Open { until: now + spell, spell });
            }
            // Nothing is admitted while it is open.
            (State::Open { .. }, _) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use tidemill_engine::threads;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn settings() -> CircuitSettings {
        CircuitSettings { failures: 3, window: 5, open_for: 100 * MS, max_open_for: 300 * MS, probes: 2 }
    }

    fn call(breaker: &mut Breaker, now: Instant, good: bool) -> Result<bool, Duration> {
        breaker.admit(now).map(|admission| breaker.done(admission, now, good))
    }

    #[test]
    fn it_opens_and_comes_back_through_probes() {
        let (mut breaker, start) = (Breaker::new(settings()), threads::now());
        for good in [false, true, false, true] {
            assert_eq!(call(&mut breaker, start, good), Ok(false));
        }
        assert_eq!(call(&mut breaker, start, false), Ok(true));
        assert_eq!(call(&mut breaker, start + 40 * MS, true), Err(60 * MS));

        // The probe fails: twice as long, then at most `max_open_for`.
        assert_eq!(call(&mut breaker, start + 100 * MS, false), Ok(true));
        assert_eq!(call(&mut breaker, start + 100 * MS, true), Err(200 * MS));
        assert_eq!(call(&mut breaker, start + 300 * MS, false), Ok(true));
        assert_eq!(call(&mut breaker, start + 300 * MS, true), Err(300 * MS));

        // One probe at a time, and two of them.
        let later = start + 600 * MS;
        let first = breaker.admit(later).unwrap();
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        assert_eq!(breaker.admit(later).unwrap_err(), Duration::ZERO);
        assert!(!breaker.done(first, later, true));
        assert_eq!(call(&mut breaker, later, true), Ok(true));
        assert_eq!(breaker.circuit(), Circuit::Closed);
        // What was before it opened is forgotten, the long spell too.
        for changes in [false, false, true] {
            assert_eq!(call(&mut breaker, later, false), Ok(changes));
        }
        assert_eq!(call(&mut breaker, later, true), Err(100 * MS));
    }

    #[test]
    fn results_of_calls_admitted_before_a_change_are_dropped() {
        let (mut breaker, now) = (Breaker::new(settings()), threads::now());
        let slow: Vec<Admission> = (0..4).map(|_| breaker.admit(now).unwrap()).collect();
        (0..3).for_each(|_| assert!(call(&mut breaker, now, false).is_ok()));
        let later = now + 100 * MS;
        let probe = breaker.admit(later).unwrap();
        for admission in slow {
            assert!(!breaker.done(admission, later, true));
        }
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        assert!(breaker.done(probe, later, false));
    }

    proptest! {
        /// Whatever happens: an open circuit admits nothing, a half open one one call at a time, and a server that
        /// answers again is called again.
        #[test]
        fn it_never_calls_what_it_must_not_and_never_gets_stuck(
            steps in proptest::collection::vec((0..3_u8, 0..200_u64), 1..200)
        ) {
            let (mut breaker, mut now) = (Breaker::new(settings()), threads::now());
            let mut under_way: Vec<(Circuit, Admission)> = Vec::new();
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                if step == 0 {
                    if let Ok(admission) = breaker.admit(now) {
                        let circuit = breaker.circuit();
                        prop_assert_ne!(circuit, Circuit::Open);
                        let era = admission.era;
                        let same = under_way.iter().filter(|(_, other)| other.era == era).count();
                        prop_assert!(circuit == Circuit::Closed || same == 0, "two probes");
                        under_way.push((circuit, admission));
                    }
                } else if let Some((_, admission)) = under_way.pop() {
                    breaker.done(admission, now, step == 1);
                }
            }
            while let Some((_, admission)) = under_way.pop() {
                breaker.done(admission, now, false);
            }
            for _ in 0..2 {
                now += settings().max_open_for;
                let admission = breaker.admit(now);
                prop_assert!(admission.is_ok(), "stuck");
                admission.into_iter().for_each(|admission| { breaker.done(admission, now, true); });
            }
            prop_assert_eq!(breaker.circuit(), Circuit::Closed);
        }
    }
}
