//! How much of what is read may be malformed before the job stops: one policy for all sources.
//!
//! A total alone would stop a job that has run for a year at its thousand and first bad record. So by default it is the share
//! that counts: input that is mostly of another format stops the job soon, a trickle never does. Each worker counts for
//! itself, and anew after a restart.

use std::collections::VecDeque;

use tidemill_engine::source::Batch;
use tidemill_engine::{ConnectorError, DeadLetter, ErrorKind};

/// When malformed records stop a job, per worker. All limits that are set hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxMalformed {
    total: Option<u64>,
    /// How many, of how many that were read last.
    recent: Option<(u64, u64)>,
}

impl MaxMalformed {
    /// Never: each is a dead letter, however many.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { total: None, recent: None }
    }

    /// At the first beyond `most` since the start.
    #[must_use]
    pub const fn total(most: u64) -> Self {
        Self::unlimited().and_total(most)
    }

    /// At the first beyond `most` among the last `of` that were read.
    #[must_use]
    pub const fn recent(most: u64, of: u64) -> Self {
        Self::unlimited().and_recent(most, of)
    }

    /// Also at the first beyond `most` since the start.
    #[must_use]
    pub const fn and_total(self, most: u64) -> Self {
        Self { total: Some(most), ..self }
    }

    /// Also at the first beyond `most` among the last `of` that were read.
    #[must_use]
    pub const fn and_recent(self, most: u64, of: u64) -> Self {
        Self { recent: Some((most, of)), ..self }
    }
}

impl Default for MaxMalformed {
    /// More than 1,000 of the last 10,000.
    fn default() -> Self {
        Self::recent(1000, 10_000)
    }
}

/// What one worker has tolerated so far.
pub(crate) struct Tolerated {
    /// The source, as dead letters name it.
    source: String,
    limit: MaxMalformed,
    /// What is counted, in the plural.
    what: &'static str,
    read: u64,
    malformed: u64,
    /// Which of those read were malformed, as long as they are recent.
    recent: VecDeque<u64>,
}

impl Tolerated {
    pub(crate) fn new(source: impl Into<String>, limit: MaxMalformed, what: &'static str) -> Self {
        Self { source: source.into(), limit, what, read: 0, malformed: 0, recent: VecDeque::new() }
    }

    /// So many were read that are not malformed.
    pub(crate) fn read(&mut self, good: u64) {
        self.read += good;
    }

    /// One more is malformed: the one at `origin`. It becomes a dead letter.
    ///
    /// # Errors
    /// When it is one too many.
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
        /// It stops where counting by hand stops.
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
