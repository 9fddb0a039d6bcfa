//! What a restore does with rows that are there: it writes them in a newer version.

use super::db::Db;
use crate::error::StateError;

impl Db {
    /// Writes every row of a state anew: `renew` makes its new value of key and old value. Returns how many rows it has.
    pub(crate) fn rewrite(
        &self,
        state: &str,
        mut renew: impl FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<u64, StateError> {
        self.rows.rewrite(state, state, &mut renew)
    }

    /// Whether a state has no rows.
    pub(crate) fn is_empty(&self, state: &str) -> Result<bool, StateError> {
        let mut empty = true;
        self.scan(state, &[], |_, _| {
            empty = false;
            Ok(false)
        })?;
        Ok(empty)
    }
}
