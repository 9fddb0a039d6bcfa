//! The number of cases that tests run: a soak run multiplies it.

/// Returns `cases`, multiplied by the whole number in `TIDEMILL_SOAK` if that is set.
pub(crate) fn times(cases: u32) -> u32 {
    let factor = std::env::var("TIDEMILL_SOAK").ok().and_then(|factor| factor.parse().ok());
    cases.saturating_mul(factor.unwrap_or(1))
}
