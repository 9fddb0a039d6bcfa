//! What tables hold.

use crate::checkpoint::delta::Ops;
use crate::codec::DecodeError;

/// What a table keeps under a key, and how it becomes rows.
pub trait Entry: Sized + 'static {
    /// Names the kind in manifests.
    const KIND: &'static str;

    /// Writes what changed since the last call. `row` is the row key without a suffix; it may be
    /// extended and must be left as it was. `header` starts each value.
    fn seal(&mut self, row: &mut Vec<u8>, header: &[u8], ops: &mut Ops) -> Result<(), DecodeError>;

    /// Writes that the whole entry is gone.
    fn seal_removed(row: &mut Vec<u8>, ops: &mut Ops);

    /// Takes in one stored row (in key order) of the entry.
    fn absorb(entry: &mut Option<Self>, suffix: &[u8], value: &[u8]) -> Result<(), DecodeError>;

    /// Whether an entry is exactly one row, found by its key.
    const SINGLE_ROW: bool;

    /// Memory it takes besides itself, bytes, estimated. `encoded`: how many bytes were last written or
    /// read of it; 0 where nothing was.
    fn heap_bytes(&self, encoded: usize) -> usize;
}
