//! What one worker changed in one epoch, in memory.

use std::collections::BTreeMap;

use super::ops::Ops;

/// What one worker changed in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub(super) epoch: u64,
    pub(super) worker: u32,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) sections: BTreeMap<String, Ops>,
}

impl Delta {
    /// An empty delta.
    #[must_use]
    pub fn new(epoch: u64, worker: u32) -> Self {
        Self { epoch, worker, blobs: BTreeMap::new(), sections: BTreeMap::new() }
    }

    /// The epoch it is of.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Sets a small value that is written whole each epoch: a source's position, staged output.
    pub fn set_blob(&mut self, name: String, value: Vec<u8>) {
        self.blobs.insert(name, value);
    }

    pub(crate) fn set_section(&mut self, state: String, ops: Ops) {
        self.sections.insert(state, ops);
    }

    /// What a program with other names reads of it: each state by the name that `name` gives it, or not at all.
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

    /// Bytes of changes.
    #[must_use]
    pub fn ops_len(&self) -> usize {
        self.sections.values().map(Ops::len).sum()
    }
}
