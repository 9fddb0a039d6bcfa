//! The rows of an epoch, as a writer collects them.

use std::collections::HashMap;

/// The encoded rows of an epoch: all that are appended, and of those that replace others the last one of each key.
#[derive(Debug, Default)]
pub(crate) struct EpochRows {
    appended: Vec<u8>,
    /// The last row of each key, and its number: keys that are other texts may be equal to the target, which keeps the last
    /// one of them.
    latest: HashMap<Vec<u8>, (u64, Vec<u8>)>,
    /// Number of rows that replace others, so far.
    number: u64,
}

impl EpochRows {
    /// Returns where rows are appended.
    pub(crate) fn appended(&mut self) -> &mut Vec<u8> {
        &mut self.appended
    }

    /// Adds a row in place of the one with the same key.
    pub(crate) fn replace(&mut self, key: Vec<u8>, row: Vec<u8>) {
        self.number += 1;
        self.latest.insert(key, (self.number, row));
    }

    /// Returns the rows in the order in which they were written, and has none any more.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut rows = std::mem::take(&mut self.appended);
        let mut latest: Vec<(u64, Vec<u8>)> = std::mem::take(&mut self.latest).into_values().collect();
        latest.sort_unstable_by_key(|(number, _)| *number);
        latest.into_iter().for_each(|(_, row)| rows.extend(row));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_each_key_is_kept_in_the_order_of_writing() {
        let mut rows = EpochRows::default();
        for (key, row) in [("a", "a1 "), ("b", "b1 "), ("a", "a2 "), ("c", "c1 ")] {
            rows.replace(key.into(), row.into());
        }
        assert_eq!(rows.take(), b"b1 a2 c1 ");
        rows.appended().extend(b"x");
        assert_eq!((rows.take(), rows.take()), (b"x".to_vec(), Vec::new()));
    }
}
