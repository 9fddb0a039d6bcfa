//! The requests of streams for which records of their event time, and the end of the job, wait.

use std::collections::BTreeMap;

use crate::time::{Epoch, EventTime};

/// The requests that are not decided yet, or whose first epoch may still have records of earlier ones beside it.
///
/// A watermark is of all epochs: once it has passed an event time, an operator may release records of that time in the
/// epoch that it is in. So a request is held until every worker has closed the epochs before the one in which it is in
/// effect, that is until the last of these is committed.
#[derive(Default)]
pub(super) struct Held {
    /// By identifier: the event time, if it has one, and the first epoch if it is decided.
    requests: BTreeMap<String, (Option<EventTime>, Option<Epoch>)>,
    /// No record of an earlier epoch will come any more.
    first: Epoch,
}

impl Held {
    pub(super) fn hold(&mut self, id: &str, from: Option<EventTime>) {
        self.requests.insert(id.to_owned(), (from, None));
    }

    /// Hears that a request is in effect from `epoch` on.
    pub(super) fn scheduled(&mut self, id: &str, epoch: Epoch) {
        if let Some((_, first)) = self.requests.get_mut(id) {
            *first = Some(epoch);
        }
        self.passed(self.first);
    }

    pub(super) fn refused(&mut self, id: &str) {
        self.requests.remove(id);
    }

    /// Hears that no record of an epoch before `first` will come any more.
    pub(super) fn passed(&mut self, first: Epoch) {
        self.first = first;
        self.requests.retain(|_, (_, epoch)| epoch.is_none_or(|epoch| epoch > first));
    }

    /// Returns the event time that the watermark must not pass.
    pub(super) fn least(&self) -> Option<EventTime> {
        self.requests.values().filter_map(|(from, _)| *from).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_until_all_earlier_epochs_are_closed() {
        let mut held = Held::default();
        held.passed(Epoch(4));
        assert_eq!(held.least(), None);
        held.hold("a", Some(EventTime(70)));
        held.hold("b", Some(EventTime(50)));
        held.hold("d", None);
        assert_eq!(held.least(), Some(EventTime(50)));
        held.refused("b");
        held.scheduled("a", Epoch(6));
        assert_eq!(held.least(), Some(EventTime(70)));
        held.passed(Epoch(5));
        assert_eq!(held.least(), Some(EventTime(70)), "epoch 5 may still have records");
        held.passed(Epoch(6));
        assert!(held.least().is_none() && !held.is_empty(), "the end waits for one without an event time");
        held.scheduled("d", Epoch(6));
        assert!(held.is_empty());
        // One that the log has had for long.
        held.hold("c", Some(EventTime(10)));
        held.scheduled("c", Epoch(6));
        assert_eq!(held.least(), None);
    }
}
