//! The values besides keyed state that a restored checkpoint has of sources, operators and sinks, one from each
//! worker of the previous run.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_state::Changes;

use super::blobs::{Ahead, Blob, staged_output};
use crate::time::{Epoch, EventTime};

/// The restored values, by owner. The values of the previous run's workers are in the order of their indexes;
/// there may be more or fewer of them than there are workers now.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    sources: BTreeMap<String, OfSource>,
    operators: BTreeMap<String, OfOperator>,
    sinks: BTreeMap<String, BTreeMap<Epoch, Vec<Vec<u8>>>>,
}

#[derive(Debug, Default)]
struct OfSource {
    positions: Vec<Vec<u8>>,
    watermarks: Vec<EventTime>,
}

#[derive(Debug, Default)]
struct OfOperator {
    watermarks: Vec<EventTime>,
    reached: Vec<Ahead>,
    seen: Vec<Vec<u8>>,
}

/// The sources and sinks of a program.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) sources: BTreeSet<String>,
    pub(crate) sinks: BTreeSet<String>,
}

impl Restored {
    /// Adds a value of the previous run's next worker.
    pub(super) fn add(&mut self, owner: &str, blob: Blob) {
        let owner = owner.to_owned();
        match blob {
            Blob::SourcePosition(position) => self.sources.entry(owner).or_default().positions.push(position),
            Blob::SourceWatermark(time) => self.sources.entry(owner).or_default().watermarks.push(time),
            Blob::OperatorWatermark(time) => self.operators.entry(owner).or_default().watermarks.push(time),
            Blob::Reached(ahead) => self.operators.entry(owner).or_default().reached.push(ahead),
            Blob::Seen(seen) => self.operators.entry(owner).or_default().seen.push(seen),
            Blob::Staged(epoch, token) => {
                self.sinks.entry(owner).or_default().entry(epoch).or_default().push(token);
            }
            // They only determine which output is restored.
            Blob::Published(_) | Blob::PublishedBySink(_) => {}
        }
    }

    /// Returns the positions of a source's readers in the previous run, one per worker.
    pub(crate) fn positions(&self, source: &str) -> &[Vec<u8>] {
        self.sources.get(source).map_or(&[], |of| &of.positions)
    }

    /// Returns the least watermark of a source in the previous run: that promise is valid for all of its readers.
    pub(crate) fn source_watermark(&self, source: &str) -> Option<EventTime> {
        self.sources.get(source)?.watermarks.iter().min().copied()
    }

    /// Returns the watermarks of a keyed operator in the previous run, one per worker; empty if the checkpoint
    /// does not know it.
    pub(crate) fn operator_watermarks(&self, operator: &str) -> &[EventTime] {
        self.operators.get(operator).map_or(&[], |of| &of.watermarks)
    }

    /// Returns the key groups whose state was ahead of that watermark already, as each worker of the previous run
    /// stored them.
    pub(crate) fn reached(&self, operator: &str) -> &[Ahead] {
        self.operators.get(operator).map_or(&[], |of| &of.reached)
    }

    /// Returns what each process of the previous run had seen for the decisions of an operator.
    pub(crate) fn seen(&self, operator: &str) -> &[Vec<u8>] {
        self.operators.get(operator).map_or(&[], |of| &of.seen)
    }

    /// Returns the tokens that a sink has staged and may not have published, in the order of epochs.
    pub(crate) fn staged(&self, sink: &str) -> impl Iterator<Item = (Epoch, &[u8])> {
        let epochs = self.sinks.get(sink).into_iter().flatten();
        epochs.flat_map(|(epoch, tokens)| tokens.iter().map(|token| (*epoch, token.as_slice())))
    }

    /// Returns the latest watermark that the state of any operator had reached. The watermark of an operator may
    /// come from the epoch after the one that it closes, and so be ahead of the sources' watermarks in the
    /// checkpoint.
    pub(crate) fn furthest(&self) -> EventTime {
        let of_one =
            |of: &OfOperator| of.watermarks.iter().chain(of.reached.iter().flat_map(Ahead::values)).max().copied();
        self.operators.values().filter_map(of_one).max().unwrap_or(EventTime::MIN)
    }

    /// Returns the names of all owners.
    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().chain(self.operators.keys()).chain(self.sinks.keys()).map(String::as_str)
    }

    /// Moves all values to their new names, and logs those that are dropped. The changes must have been checked.
    pub(super) fn renamed(self, changes: &Changes) -> Self {
        let Self { sources, operators, sinks } = self;
        Self {
            sources: renamed("source", sources, changes),
            operators: renamed("operator", operators, changes),
            sinks: renamed("sink", sinks, changes),
        }
    }

    /// Returns the values that a program with these sources and sinks would lose, as pairs of owner and
    /// description. The watermark of an operator counts with its states, that of a source with its position.
    pub(super) fn unclaimed(&self, ends: &Ends) -> Vec<(String, String)> {
        let sinks = self.sinks.iter().filter(|(name, _)| !ends.sinks.contains(*name));
        let outputs =
            sinks.flat_map(|(name, epochs)| epochs.keys().map(move |epoch| (name.clone(), staged_output(name, epoch))));
        let sources = self.sources.keys().filter(|name| !ends.sources.contains(*name));
        outputs.chain(sources.map(|name| (name.clone(), format!("the position of source \"{name}\"")))).collect()
    }
}

fn renamed<T>(kind: &str, of: BTreeMap<String, T>, changes: &Changes) -> BTreeMap<String, T> {
    let now = |(name, what): (String, T)| {
        let new = changes.operator(&name).map(str::to_owned);
        if new.is_none() {
            tracing::warn!("the data of {kind} \"{name}\" in the checkpoint is discarded, as drop_state says");
        }
        new.map(|new| (new, what))
    };
    of.into_iter().filter_map(now).collect()
}
