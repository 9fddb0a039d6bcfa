//! A circuit breaker: a failing server gets no calls for a while, then one call at a time to probe it.
//!
//! ```text
//!            `failures` of the last `window` calls failed
//!   closed ─────────────────────────────────────────────▶ open, for `open_for`
//!     ▲                                                    │    ▲ twice as long as the last time
//!     └── `probes` calls in a row succeed ── half open ◀───┘    │
//!                                               └─ one fails ───┘
//! ```
//! Invariant: while the circuit is half open, at most one call is in flight. Results of calls that were admitted before
//! a change of state are dropped, because they say nothing about the state after it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Settings of a circuit breaker, which suspends the calls to a failing server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitSettings {
    /// Number of failures among the last [`window`](Self::window) calls that opens the circuit; default 5.
    pub failures: usize,
    /// Number of most recent calls that are considered; default 10.
    pub window: usize,
    /// Time without calls after the circuit has opened; default 500 ms. It doubles each time a probe fails.
    #[serde(with = "humantime_serde")]
    pub open_for: Duration,
    /// Maximum time without calls; default 5 s.
    #[serde(with = "humantime_serde")]
    pub max_open_for: Duration,
    /// Number of consecutive successful probes that closes the circuit; default 2. Probes are made one at a time.
    pub probes: usize,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        let (open_for, max_open_for) = (Duration::from_millis(500), Duration::from_secs(5));
        Self { failures: 5, window: 10, open_for, max_open_for, probes: 2 }
    }
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Circuit {
    /// Calls are made normally.
    Closed,
    /// No call is made.
    Open,
    /// One call at a time is made, to probe whether the server works again.
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Instant, spell: Duration },
    HalfOpen { probing: bool, passed: usize, spell: Duration },
}

/// A call that was admitted and whose result must be reported.
#[derive(Debug)]
pub(super) struct Admission {
    /// The change of state after which the call was admitted.
    era: u64,
}

pub(super) struct Breaker {
    settings: CircuitSettings,
    state: State,
    /// Number of changes of state so far.
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

    /// Admits a call, or returns the minimum time until one may be tried.
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

    /// Records the result of a call. Returns whether that changed the state of the circuit.
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

        // The probe fails: the circuit stays open twice as long, then at most `max_open_for`.
        assert_eq!(call(&mut breaker, start + 100 * MS, false), Ok(true));
        assert_eq!(call(&mut breaker, start + 100 * MS, true), Err(200 * MS));
        assert_eq!(call(&mut breaker, start + 300 * MS, false), Ok(true));
        assert_eq!(call(&mut breaker, start + 300 * MS, true), Err(300 * MS));

        // One probe at a time, and two probes in all.
        let later = start + 600 * MS;
        let first = breaker.admit(later).unwrap();
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        assert_eq!(breaker.admit(later).unwrap_err(), Duration::ZERO);
        assert!(!breaker.done(first, later, true));
        assert_eq!(call(&mut breaker, later, true), Ok(true));
        assert_eq!(breaker.circuit(), Circuit::Closed);
        // Failures from before it opened are forgotten, and so is the longer opening time.
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
        /// Whatever happens, an open circuit admits nothing, a half open circuit admits one call at a time, and a
        /// server that answers again is called again.
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
