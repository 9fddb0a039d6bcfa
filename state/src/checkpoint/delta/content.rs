//! The changes of one worker in one epoch, in memory.

use std::collections::BTreeMap;

use super::ops::Ops;

/// The changes of one worker in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub(super) epoch: u64,
    pub(super) worker: u32,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) sections: BTreeMap<String, Ops>,
}

impl Delta {
    /// Creates an empty delta.
    #[must_use]
    pub fn new(epoch: u64, worker: u32) -> Self {
        Self { epoch, worker, blobs: BTreeMap::new(), sections: BTreeMap::new() }
    }

    /// Returns the epoch of the changes.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Sets a blob: a small value that every epoch writes completely, such as a source's position or staged output.
    pub fn set_blob(&mut self, name: String, value: Vec<u8>) {
        self.blobs.insert(name, value);
    }

    /// Returns a delta of the same epoch with only the blobs whose name `keeps` accepts, and no changes of states.
    #[must_use]
    pub fn only_blobs(&self, keeps: impl Fn(&str) -> bool) -> Self {
        let blobs = self.blobs.iter().filter(|(name, _)| keeps(name));
        let blobs = blobs.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { epoch: self.epoch, worker: self.worker, blobs, sections: BTreeMap::new() }
    }

    pub(crate) fn set_section(&mut self, state: String, ops: Ops) {
        self.sections.insert(state, ops);
    }

    /// Renames the states of the delta, for a program with other names: each state gets the name that `name` returns,
    /// or is removed if that is `None`.
    pub(crate) fn with_names(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        let sections = std::mem::take(&mut self.sections).into_iter();
        self.sections = sections.filter_map(|(state, ops)| Some((name(&state)?, ops))).collect();
        self
    }

    #[cfg(test)]
    pub(crate) fn section(&mut self, state: &str) -> &mut Ops {
        self.sections.entry(state.to_owned()).or_default()
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = (&str, &Ops)> {
        self.sections.iter().map(|(state, ops)| (state.as_str(), ops))
    }

    /// Returns the encoded changes of a state.
    pub(crate) fn section_bytes(&self, state: &str) -> Option<&[u8]> {
        self.sections.get(state).map(Ops::as_slice)
    }

    /// Returns the size of the encoded changes of all states, in bytes.
    #[must_use]
    pub fn ops_len(&self) -> usize {
        self.sections.values().map(Ops::len).sum()
    }
}
