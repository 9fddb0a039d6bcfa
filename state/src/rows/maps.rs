//! Rows in sorted maps: what stands in for RocksDB where a job is simulated. Opening one costs nothing.

use std::collections::BTreeMap;

use crate::checkpoint::delta::{Delta, Op, Ops};
use crate::codec::{self, DecodeError};
use crate::error::StateError;

/// The rows of each state.
#[derive(Debug, Default)]
pub(crate) struct Maps(BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>);

impl Maps {
    pub(crate) fn change(&mut self, state: &str, op: Op<'_>) {
        let rows = match self.0.get_mut(state) {
            Some(rows) => rows,
            None => self.0.entry(state.to_owned()).or_default(),
        };
        match op {
            Op::Put { key, value } => drop(rows.insert(key.to_vec(), value.to_vec())),
            Op::Delete { key } => drop(rows.remove(key)),
            Op::DeleteRange { from, to } => rows.retain(|row, _| row.as_slice() < from || row.as_slice() >= to),
            Op::PutElements { row, from, values } => {
                let mut row = row.to_vec();
                for (element, value) in (from..).zip(values) {
                    codec::with_sequence(&mut row, element, |row| drop(rows.insert(row.to_vec(), value.to_vec())));
                }
            }
            Op::DeleteElements { row, from, to } => {
                let mut row = row.to_vec();
                for element in from..to {
                    codec::with_sequence(&mut row, element, |row| drop(rows.remove(row)));
                }
            }
        }
    }

    pub(crate) fn get(&self, state: &str, key: &[u8]) -> Option<&[u8]> {
        self.0.get(state)?.get(key).map(Vec::as_slice)
    }

    /// All rows of a state whose key begins with `prefix`, in order, until `visit` says stop (false).
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        let Some(rows) = self.0.get(state) else { return Ok(()) };
        let within = rows.range::<[u8], _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        for (key, value) in within.take_while(|(key, _)| key.starts_with(prefix)) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    /// Makes every value of a state anew of its key and old value. Returns how many rows it has.
    pub(crate) fn rewrite(
        &mut self,
        state: &str,
        mut value: impl FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<u64, StateError> {
        let Some(rows) = self.0.get_mut(state) else { return Ok(0) };
        for (key, old) in &mut *rows {
            let mut new = Vec::new();
            value(key, old, &mut new)?;
            *old = new;
        }
        Ok(rows.len() as u64)
    }

    /// The changes that make all this of nothing.
    pub(crate) fn to_delta(&self, epoch: u64) -> Result<Delta, StateError> {
        let mut delta = Delta::new(epoch, 0);
        for (state, rows) in &self.0 {
            let mut ops = Ops::default();
            for (key, value) in rows {
                let unwritable = |e: DecodeError| StateError::Unwritable {
                    state: state.clone(),
                    group: codec::group_of_row(key),
                    reason: e.0,
                };
                ops.put(key, value).map_err(unwritable)?;
            }
            delta.set_section(state.clone(), ops);
        }
        Ok(delta)
    }
}
