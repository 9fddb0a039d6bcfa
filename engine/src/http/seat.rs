//! The seat of one connection, and which of them is given up for a new one.

use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::Notify;

use crate::locks::lock;
use crate::threads;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has sent no whole request yet, or none since its last answer.
    Silent,
    /// A request is being answered.
    Answering,
    /// A page listens to events.
    Listening,
}

/// The seat of one connection.
#[derive(Debug)]
pub(super) struct Seat {
    stage: Mutex<(Stage, Instant)>,
    given_up: Notify,
}

impl Seat {
    pub(super) fn new() -> Self {
        Self { stage: Mutex::new((Stage::Silent, threads::now())), given_up: Notify::new() }
    }

    pub(super) fn enter(&self, stage: Stage) {
        *lock(&self.stage) = (stage, threads::now());
    }

    pub(super) fn stage(&self) -> (Stage, Instant) {
        *lock(&self.stage)
    }

    /// Has the connection closed.
    pub(super) fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Returns when the connection has to close.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

/// Returns the seat that is given up: the one that has been silent for the longest time; if none is silent, the one
/// that has been answered for the longest time. Pages that listen stay: their number is limited where they begin.
pub(super) fn victim(stages: &[(Stage, Instant)]) -> Option<usize> {
    let longest = |wanted: Stage| {
        let those = stages.iter().enumerate().filter(move |(_, (stage, _))| *stage == wanted);
        those.min_by_key(|(_, (_, since))| *since).map(|(at, _)| at)
    };
    longest(Stage::Silent).or_else(|| longest(Stage::Answering))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_silent_connection_goes_first_and_a_listening_page_never() {
        let at = |seconds| threads::now() + Duration::from_secs(seconds);
        use Stage::{Answering, Listening, Silent};
        let (early, late) = (at(0), at(9));
        assert_eq!(victim(&[(Answering, early), (Silent, late), (Silent, early), (Listening, early)]), Some(2));
        assert_eq!(victim(&[(Listening, early), (Answering, late), (Answering, early)]), Some(2));
        assert_eq!(victim(&[(Listening, early)]), None);
    }
}
