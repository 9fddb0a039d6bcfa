//! A log message for what takes long: a turn of an operator, during which its worker runs nothing else, or a batch
//! of a model.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::locks::lock;
use crate::place;
use crate::threads;

/// The time after a message of one kind, operator and worker in which further ones are only counted.
const QUIET: Duration = Duration::from_secs(10);

/// The slow turns and batches of an operator on one worker.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    turns: Mutex<Said>,
    batches: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Slow {
    /// Logs a turn of the operator that took longer than the job's `slow_batch`.
    pub(crate) fn turn(&self, took: Duration) {
        if let Some(unsaid) = news(&self.turns, took) {
            let took_ms = in_whole_ms(took);
            tracing::warn!(took_ms, unsaid, "a turn of this operator was slow: its worker ran nothing else meanwhile");
        }
    }

    /// Logs a batch that ran longer than the job's `slow_batch`.
    pub(crate) fn batch(&self, ran: Duration, queued: Duration, records: usize) {
        if let Some(unsaid) = news(&self.batches, ran) {
            let (ran_ms, queued_ms) = (in_whole_ms(ran), in_whole_ms(queued));
            tracing::warn!(ran_ms, queued_ms, records, unsaid, "a batch of this operator was slow");
        }
    }
}

/// Returns the number of messages that were left out before this one, if what took so long is to be logged.
fn news(said: &Mutex<Said>, took: Duration) -> Option<u64> {
    place::slow_batch().filter(|limit| took >= *limit)?;
    lock(said).news(threads::now())
}

impl Said {
    fn news(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn in_whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_one_message_and_the_next_one_says_how_many_there_were() {
        let (mut said, start) = (Said::default(), threads::now());
        let news: Vec<_> = (0..25).map(|second| said.news(start + Duration::from_secs(second))).collect();
        let expected = |second| match second {
            0 => Some(0),
            10 | 20 => Some(9),
            _ => None,
        };
        assert_eq!(news, (0..25).map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_slow_outside_a_job_that_says_what_slow_is() {
        assert_eq!(news(&Mutex::default(), Duration::MAX), None);
    }
}
