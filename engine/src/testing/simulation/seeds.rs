//! Runs with many seeds, until one fails, which is reported so that it can be run again.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::run::Simulation;
use crate::error::panic_text;

const VARIABLE: &str = "TIDEMILL_SEED";
/// The variable with the factor by which a long run takes more seeds.
const TIMES: &str = "TIDEMILL_SOAK";

/// A seed with which a case failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingSeed {
    /// The seed.
    pub seed: u64,
    /// Number of seeds that had passed before it.
    pub passed: u64,
    /// The message of the panic.
    pub message: String,
}

impl Simulation {
    /// Runs `case` with `cases` seeds, which are different each time. If the environment variable `TIDEMILL_SEED`
    /// is set, it runs that seed only; `TIDEMILL_SOAK=10` runs ten times as many seeds.
    ///
    /// # Panics
    /// When the case panics with a seed. The message has the seed.
    #[track_caller]
    pub fn check(cases: u64, case: impl Fn(&mut Self)) {
        let times = std::env::var(TIMES).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
        let wanted = std::env::var(VARIABLE).ok().map(|text| text.parse::<u64>());
        let found = match wanted {
            Some(Ok(seed)) => Self::find([seed], &case),
            Some(Err(error)) => panic!("{VARIABLE} is no seed: {error}"),
            None => {
                let first = RandomState::new().hash_one("first seed");
                Self::find((0..cases.saturating_mul(times)).map(|n| first.wrapping_add(n)), &case)
            }
        };
        let Some(FailingSeed { seed, passed, message }) = found else { return };
        let again = match Self::find([seed], &case) {
            Some(again) if again.message == message => "repeats this one",
            _ => {
                "does not repeat this one: the program goes by something that is not the seed's (the order of a HashMap, \
                 the machine's clock, a thread of its own)"
            }
        };
        panic!("after {passed} seeds that passed: {message}\n{VARIABLE}={seed} {again}");
    }

    /// Runs `case` with one seed after the other until it panics. Returns that seed, or `None` if all pass.
    pub fn find(seeds: impl IntoIterator<Item = u64>, case: impl Fn(&mut Self)) -> Option<FailingSeed> {
        (0..).zip(seeds).find_map(|(passed, seed)| {
            let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut Self::new(seed))));
            let panic = outcome.err()?;
            Some(FailingSeed { seed, passed, message: panic_text(&*panic) })
        })
    }
}
