//! Lengths of time, as Prometheus writes them.

use std::time::Duration;

/// How long the windows and holds of alerts are: as they are meant, or a part of that, for tests that cannot wait.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    divisor: u32,
}

impl Times {
    /// The times that the checked-in files have.
    #[must_use]
    pub fn usual() -> Self {
        Self { divisor: 1 }
    }

    /// All times divided by `divisor`, which is at least 1.
    #[must_use]
    pub fn divided_by(divisor: u32) -> Self {
        Self { divisor: divisor.max(1) }
    }

    /// Returns a length of time of so many seconds, or its part.
    #[must_use]
    pub fn secs(&self, seconds: u64) -> Span {
        Span(Duration::from_secs(seconds) / self.divisor)
    }

    /// Returns a length of time of so many minutes, or its part.
    #[must_use]
    pub fn mins(&self, minutes: u64) -> Span {
        self.secs(minutes * 60)
    }

    /// Returns a length of time of so many hours, or its part.
    #[must_use]
    pub fn hours(&self, hours: u64) -> Span {
        self.mins(hours * 60)
    }
}

/// A length of time. Prometheus distinguishes milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Returns the time in seconds, as a number of PromQL.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

/// In Prometheus' form: `5m`, `1m30s`, `83ms`.
impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_prometheus_reads_them() {
        let times = Times::usual();
        let spans = [times.mins(5), times.secs(90), times.hours(24), Times::divided_by(60).secs(5), Span::ZERO];
        assert_eq!(spans.map(|span| span.to_string()), ["5m", "1m30s", "1d", "83ms", "0s"]);
    }
}
