//! What a restored checkpoint has of sources, operators and sinks besides keyed state, one value of each old worker.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_state::Changes;

use super::blobs::{Ahead, Blob, staged_output};
use crate::time::{Epoch, EventTime};

/// By owner. Old workers are in their order; there may be more or fewer of them than there are now.
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
}

/// The sources and sinks of a program.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) sources: BTreeSet<String>,
    pub(crate) sinks: BTreeSet<String>,
}

impl Restored {
    /// Adds what the next old worker left.
    pub(super) fn add(&mut self, owner: &str, blob: Blob) {
        let owner = owner.to_owned();
        match blob {
            Blob::SourcePosition(position) => self.sources.entry(owner).or_default().positions.push(position),
            Blob::SourceWatermark(time) => self.sources.entry(owner).or_default().watermarks.push(time),
            Blob::OperatorWatermark(time) => self.operators.entry(owner).or_default().watermarks.push(time),
            Blob::Reached(ahead) => self.operators.entry(owner).or_default().reached.push(ahead),
            Blob::Staged(epoch, token) => {
                self.sinks.entry(owner).or_default().entry(epoch).or_default().push(token);
            }
            // It says which output is restored, and has no owner.
            Blob::Published(_) => {}
        }
    }

    /// Where the old workers' readers of a source stood.
    pub(crate) fn positions(&self, source: &str) -> &[Vec<u8>] {
        self.sources.get(source).map_or(&[], |of| &of.positions)
    }

    /// The least of the old workers' watermarks: what they had promised still holds for everyone.
    pub(crate) fn source_watermark(&self, source: &str) -> Option<EventTime> {
        self.sources.get(source)?.watermarks.iter().min().copied()
    }

    /// Where a keyed operator stood on each old worker; nothing where the checkpoint does not know it.
    pub(crate) fn operator_watermarks(&self, operator: &str) -> &[EventTime] {
        self.operators.get(operator).map_or(&[], |of| &of.watermarks)
    }

    /// The key groups whose state was ahead of that already, as each old worker says.
    pub(crate) fn reached(&self, operator: &str) -> &[Ahead] {
        self.operators.get(operator).map_or(&[], |of| &of.reached)
    }

    /// What a sink staged and may not have published, in the order of epochs.
    pub(crate) fn staged(&self, sink: &str) -> impl Iterator<Item = (Epoch, &[u8])> {
        let epochs = self.sinks.get(sink).into_iter().flatten();
        epochs.flat_map(|(epoch, tokens)| tokens.iter().map(|token| (*epoch, token.as_slice())))
    }

    /// How far the state of any operator had come. An operator's watermark may be of the epoch after the one it closes, and so
    /// ahead of where the checkpoint has the sources.
    pub(crate) fn furthest(&self) -> EventTime {
        let of_one =
            |of: &OfOperator| of.watermarks.iter().chain(of.reached.iter().flat_map(Ahead::values)).max().copied();
        self.operators.values().filter_map(of_one).max().unwrap_or(EventTime::MIN)
    }

    /// Whoever left something.
    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().chain(self.operators.keys()).chain(self.sinks.keys()).map(String::as_str)
    }

    /// Gives everything to whoever has the name now, and says what is dropped. The changes are checked.
    pub(super) fn renamed(self, changes: &Changes) -> Self {
        let Self { sources, operators, sinks } = self;
        Self {
            sources: renamed("source", sources, changes),
            operators: renamed("operator", operators, changes),
            sinks: renamed("sink", sinks, changes),
        }
    }

    /// What a program with these sources and sinks would lose, with whose it is. The watermark of an operator goes with its states, that of a
    /// source with its position.
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
            tracing::warn!("what {kind} \"{name}\" left in the checkpoint is dropped, as drop_state says");
        }
        new.map(|new| (new, what))
    };
    of.into_iter().filter_map(now).collect()
}
