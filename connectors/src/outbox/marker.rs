//! The marker: up to which epoch a worker's output is published. It is moved by the very transaction that publishes.

use tidemill_engine::Epoch;

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    /// The epoch up to which everything is published.
    pub(crate) epoch: Epoch,
    /// The next epoch, if the target has a part of its output.
    pub(crate) begun: Option<Epoch>,
    /// The start of the job that published it, or has taken over since.
    pub(crate) incarnation: Option<u64>,
}

/// The action of a restart for one worker's output, given its marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Publish the staged epochs after this one.
    PublishAfter(Epoch),
    /// The target has output of epochs that this run has not reached.
    Ahead(Epoch),
    /// There is staged output, so there was a marker, and it is gone: it is unknown what was published.
    Lost,
}

/// Decides what a restart does, without I/O. `staged` is whether the checkpoint contains output of this worker;
/// `restored` is the epoch from which this run continues.
pub(crate) fn plan(marked: Option<&Marked>, staged: bool, restored: Epoch) -> Recovery {
    match marked {
        None if staged => Recovery::Lost,
        None => Recovery::PublishAfter(Epoch(0)),
        Some(Marked { epoch, begun, .. }) if (*begun).max(Some(*epoch)) > Some(restored) => {
            Recovery::Ahead(begun.unwrap_or(*epoch))
        }
        Some(marked) => Recovery::PublishAfter(marked.epoch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64) -> Marked {
        Marked { epoch: Epoch(epoch), begun: None, incarnation: Some(1) }
    }

    #[test]
    fn the_marker_decides_and_nothing_is_guessed() {
        assert_eq!(plan(Some(&at(5)), true, Epoch(7)), Recovery::PublishAfter(Epoch(5)));
        assert_eq!(plan(Some(&at(7)), true, Epoch(7)), Recovery::PublishAfter(Epoch(7)));
        assert_eq!(plan(Some(&at(8)), false, Epoch(7)), Recovery::Ahead(Epoch(8)));
        // A part of epoch 8 is there: a run that makes another epoch 8 would go on in the middle of it.
        let in_part = Marked { begun: Some(Epoch(8)), ..at(7) };
        assert_eq!(plan(Some(&in_part), false, Epoch(7)), Recovery::Ahead(Epoch(8)));
        assert_eq!(plan(Some(&in_part), true, Epoch(8)), Recovery::PublishAfter(Epoch(7)));
        assert_eq!(plan(None, true, Epoch(7)), Recovery::Lost);
        assert_eq!(plan(None, false, Epoch(0)), Recovery::PublishAfter(Epoch(0)));
    }
}
