//! The limit of malformed records beyond which the job stops: one policy for all sources.
//!
//! A total alone would stop a job that has run for a year at its thousand and first bad record. So by default the share
//! of malformed records is limited: input that is mostly of another format stops the job soon, and an occasional bad
//! record never does. Each worker counts its own records, and starts from 0 after a restart.

use std::collections::VecDeque;

use tidemill_engine::source::Batch;
use tidemill_engine::{ConnectorError, DeadLetter, ErrorKind};

/// The number or share of malformed records beyond which a job stops, per worker. Exceeding any limit that is set stops
/// the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxMalformed {
    total: Option<u64>,
    /// Maximum number of malformed records, and the number of last read records among which they are counted.
    recent: Option<(u64, u64)>,
}

impl MaxMalformed {
    /// Returns a policy that never stops the job: each malformed record becomes a dead letter, however many there are.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { total: None, recent: None }
    }

    /// Returns a policy that stops the job at the first malformed record beyond `most` since the start.
    #[must_use]
    pub const fn total(most: u64) -> Self {
        Self::unlimited().and_total(most)
    }

    /// Returns a policy that stops the job at the first malformed record beyond `most` among the last `of` that were
    /// read.
    #[must_use]
    pub const fn recent(most: u64, of: u64) -> Self {
        Self::unlimited().and_recent(most, of)
    }

    /// Adds a limit: the job also stops at the first malformed record beyond `most` since the start.
    #[must_use]
    pub const fn and_total(self, most: u64) -> Self {
        Self { total: Some(most), ..self }
    }

    /// Adds a limit: the job also stops at the first malformed record beyond `most` among the last `of` that were read.
    #[must_use]
    pub const fn and_recent(self, most: u64, of: u64) -> Self {
        Self { recent: Some((most, of)), ..self }
    }
}

impl Default for MaxMalformed {
    /// Returns the policy that stops the job at more than 1,000 malformed records among the last 10,000.
    fn default() -> Self {
        Self::recent(1000, 10_000)
    }
}

/// The malformed records that one worker has tolerated so far.
pub(crate) struct Tolerated {
    /// The name of the source in dead letters.
    source: String,
    limit: MaxMalformed,
    /// The word for the records of this source, in the plural.
    what: &'static str,
    read: u64,
    malformed: u64,
    /// The numbers of the malformed records among those read last.
    recent: VecDeque<u64>,
}

impl Tolerated {
    pub(crate) fn new(source: impl Into<String>, limit: MaxMalformed, what: &'static str) -> Self {
        Self { source: source.into(), limit, what, read: 0, malformed: 0, recent: VecDeque::new() }
    }

    /// Counts `good` records that are not malformed.
    pub(crate) fn read(&mut self, good: u64) {
        self.read += good;
    }

    /// Counts the malformed record at `origin` and makes it a dead letter.
    ///
    /// # Errors
    /// When a limit is exceeded.
    pub(crate) fn refuse<T>(
        &mut self,
        batch: &mut Batch<T>,
        origin: String,
        reason: String,
        content: &[u8],
    ) -> Result<(), ConnectorError> {
        self.malformed(&origin, &reason)?;
        batch.dead_letter(DeadLetter::new(&self.source, origin, reason, content));
        Ok(())
    }

    fn malformed(&mut self, origin: &str, reason: &str) -> Result<(), ConnectorError> {
        self.read += 1;
        self.malformed += 1;
        if let Some(most) = self.limit.total
            && self.malformed > most
        {
            return Err(self.too_many(&format!("more than {most} {}", self.what), origin, reason));
        }
        if let Some((most, of)) = self.limit.recent {
            let first = self.read.saturating_sub(of);
            self.recent.push_back(self.read);
            while self.recent.pop_front_if(|at| *at <= first).is_some() {}
            if self.recent.len() as u64 > most {
                return Err(self.too_many(&format!("more than {most} of the last {of} {}", self.what), origin, reason));
            }
        }
        Ok(())
    }

    fn too_many(&self, how_many: &str, origin: &str, reason: &str) -> ConnectorError {
        let message = format!("{how_many} could not be decoded, the last one at {origin}: {reason}");
        ConnectorError::new(ErrorKind::Data, message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = MaxMalformed> {
        (prop::option::of(0..40u64), prop::option::of((0..20u64, 0..60u64)))
            .prop_map(|(total, recent)| MaxMalformed { total, recent })
    }

    proptest! {
        /// The job stops exactly where plain counting would stop it.
        #[test]
        fn it_stops_where_a_limit_is_passed(limit in limits(), bad in prop::collection::vec(any::<bool>(), 0..200)) {
            let mut tolerated = Tolerated::new("s", limit, "lines");
            let stops = bad.iter().position(|bad| if *bad {
                tolerated.malformed("here", "why").is_err()
            } else {
                tolerated.read(1);
                false
            });
            let too_many = |at: &usize| {
                let upto = &bad[..=*at];
                let count = |of: &[bool]| of.iter().filter(|bad| **bad).count() as u64;
                let recent = |of: u64| &upto[upto.len().saturating_sub(of as usize)..];
                limit.total.is_some_and(|most| count(upto) > most)
                    || limit.recent.is_some_and(|(most, of)| count(recent(of)) > most)
            };
            prop_assert_eq!(stops, (0..bad.len()).find(too_many));
        }
    }

    #[test]
    fn by_default_a_trickle_never_stops_and_a_flood_does() {
        let mut year = Tolerated::new("s", MaxMalformed::default(), "messages");
        for _ in 0..100_000 {
            year.read(99);
            year.malformed("t/0@7", "poison").unwrap();
        }
        let mut flood = Tolerated::new("s", MaxMalformed::default(), "messages");
        let stops = (0..5000).find_map(|_| flood.malformed("t/0@7", "poison").err()).unwrap();
        assert_eq!(flood.malformed, 1001);
        let wanted = "more than 1000 of the last 10000 messages could not be decoded, the last one at t/0@7: poison";
        assert_eq!(stops.to_string(), wanted);
    }
}
