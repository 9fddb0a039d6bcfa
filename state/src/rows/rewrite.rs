//! Rewriting the rows of a state in place, when a restore upgrades them to a newer version.

use super::db::Db;
use super::store::finds_none;
use crate::error::StateError;

impl Db {
    /// Rewrites every row of a state: `renew` writes the new value, given the key and the old value. Returns the number
    /// of rows.
    pub(crate) fn rewrite(
        &self,
        state: &str,
        mut renew: impl FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<u64, StateError> {
        self.settle()?;
        self.rows.rewrite(state, state, &mut renew)
    }

    /// Returns whether a state has no rows.
    pub(crate) fn is_empty(&self, state: &str) -> Result<bool, StateError> {
        finds_none(|visit| self.scan(state, &[], visit))
    }
}
