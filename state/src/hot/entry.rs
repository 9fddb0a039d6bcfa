//! The entries of hot tables.

use crate::checkpoint::delta::Ops;
use crate::codec::DecodeError;

/// What stands before each stored value.
#[derive(Clone, Copy)]
pub struct Header {
    /// The version of the value.
    pub version: u8,
    /// Time when it expires, in states with a TTL.
    pub expires: Option<i64>,
}

impl Header {
    #[inline]
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        out.push(self.version);
        if let Some(expires) = self.expires {
            out.extend_from_slice(&expires.to_le_bytes());
        }
    }
}

/// An entry that a table keeps for a key, and how it is written as rows and read from them.
pub trait Entry: Sized + 'static {
    /// Name of the kind in manifests.
    const KIND: &'static str;

    /// Writes the changes since the last call. `row` is the row key without a suffix; it may be extended, but must be
    /// as it was at the end. Each value begins with `header`. `whole` says that entries are evicted, so that it is good
    /// to write a small entry as one row.
    fn seal(&mut self, row: &mut Vec<u8>, header: Header, whole: bool, ops: &mut Ops) -> Result<(), DecodeError>;

    /// Writes the removal of the whole entry.
    fn seal_removed(row: &mut Vec<u8>, ops: &mut Ops);

    /// Adds one stored row to the entry. The rows of an entry come in key order.
    fn absorb(entry: &mut Option<Self>, suffix: &[u8], value: &[u8]) -> Result<(), DecodeError>;

    /// Suffix of the row that an entry has if it is one row.
    const WHOLE: &'static [u8];

    /// Whether every entry is one row.
    const SINGLE_ROW: bool;

    /// Returns the memory that the entry takes besides its own size, in bytes (estimated). `encoded` is the number of
    /// bytes of it that were last written or read, or 0 if none were.
    fn heap_bytes(&self, encoded: usize) -> usize;
}
