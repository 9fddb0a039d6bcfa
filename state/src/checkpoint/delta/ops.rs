//! The changes of one state, encoded one after the other.
//!
//! ```text
//! 1 put [key][value]           2 delete [key]        3 delete range [from key][to key]
//! 4 delete elements [row][from][to]                  5 put elements [row][from][number of values] { [value] } …
//! (keys and values with their length in front; lengths and numbers as in `lengths.rs`)
//! ```
//! Keys are rows as in `codec.rs`, whose length is checked where they are made; every key of a range is in one key group.

use super::lengths::{Reader, push_bytes, push_number, push_with};
use crate::codec::{DecodeError, row_too_long};

/// What the sequence number of an element adds to its list's row key.
const SEQUENCE_BYTES: usize = 8;

/// One change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// The row now has this value.
    Put {
        /// Row key.
        key: &'a [u8],
        /// Encoded value.
        value: &'a [u8],
    },
    /// The row is gone.
    Delete {
        /// Row key.
        key: &'a [u8],
    },
    /// All rows from `from` up to and without `to` are gone.
    DeleteRange {
        /// First row key.
        from: &'a [u8],
        /// Row key after the last.
        to: &'a [u8],
    },
    /// These elements were appended to a list: one row each.
    PutElements {
        /// Row key of the list, without a sequence number.
        row: &'a [u8],
        /// Sequence number of the first.
        from: u64,
        /// Their encoded values.
        values: EncodedElements<'a>,
    },
    /// These elements of a list are gone. Not a range of rows: RocksDB reads slowly where many were deleted.
    DeleteElements {
        /// Row key of the list, without a sequence number.
        row: &'a [u8],
        /// First sequence number.
        from: u64,
        /// Sequence number after the last.
        to: u64,
    },
}

impl<'a> Op<'a> {
    /// The row key, or the first of a range.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::DeleteRange { from: key, .. }
            | Self::PutElements { row: key, .. }
            | Self::DeleteElements { row: key, .. } => key,
        }
    }
}

/// The encoded values of some elements, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedElements<'a>(&'a [u8]);

impl<'a> Iterator for EncodedElements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut reader = Reader(self.0);
        let value = reader.bytes();
        self.0 = reader.0;
        value
    }
}

/// The changes of one state, encoded one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ops(Vec<u8>);

impl Ops {
    const PUT: u8 = 1;
    const DELETE: u8 = 2;
    const DELETE_RANGE: u8 = 3;
    const DELETE_ELEMENTS: u8 = 4;
    const PUT_ELEMENTS: u8 = 5;

    /// Adds a put. Nothing is added where the row is too long to be kept.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        fits(key.len(), value.len())?;
        self.0.push(Self::PUT);
        push_bytes(&mut self.0, key);
        push_bytes(&mut self.0, value);
        Ok(())
    }

    /// Adds a put whose value is written by `value`.
    pub(crate) fn put_with(
        &mut self,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.whole_or_not_at_all(|out| {
            out.push(Self::PUT);
            push_bytes(out, key);
            fits(key.len(), push_with(out, value)?)
        })
    }

    /// Adds the elements of a list from sequence number `from` on; `value` writes each.
    pub(crate) fn put_elements<V>(
        &mut self,
        row: &[u8],
        from: u64,
        values: impl ExactSizeIterator<Item = V>,
        mut value: impl FnMut(V, &mut Vec<u8>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.whole_or_not_at_all(|out| {
            out.push(Self::PUT_ELEMENTS);
            push_bytes(out, row);
            push_number(out, from);
            push_number(out, values.len() as u64);
            for element in values {
                fits(row.len() + SEQUENCE_BYTES, push_with(out, |out| value(element, out))?)?;
            }
            Ok(())
        })
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.0.push(Self::DELETE);
        push_bytes(&mut self.0, key);
    }

    pub(crate) fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.0.push(Self::DELETE_RANGE);
        push_bytes(&mut self.0, from);
        push_bytes(&mut self.0, to);
    }

    pub(crate) fn delete_elements(&mut self, row: &[u8], from: u64, to: u64) {
        self.0.push(Self::DELETE_ELEMENTS);
        push_bytes(&mut self.0, row);
        push_number(&mut self.0, from);
        push_number(&mut self.0, to);
    }

    fn whole_or_not_at_all(
        &mut self,
        add: impl FnOnce(&mut Vec<u8>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let before = self.0.len();
        let added = add(&mut self.0);
        if added.is_err() {
            self.0.truncate(before);
        }
        added
    }

    /// The changes in order; `None` in the place of one that cannot be read.
    pub fn iter(&self) -> impl Iterator<Item = Option<Op<'_>>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (tag, after) = rest.split_first()?;
            let mut reader = Reader(after);
            let op = read_op(*tag, &mut reader);
            rest = if op.is_some() { reader.0 } else { &[] };
            Some(op)
        })
    }

    /// The changes as they were read; `None` when one of them cannot be.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let ops = Self(bytes.to_vec());
        let readable = ops.iter().all(|op| op.is_some());
        readable.then_some(ops)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Encoded size.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn fits(key: usize, value: usize) -> Result<(), DecodeError> {
    row_too_long(key, value).map_or(Ok(()), |reason| Err(DecodeError(reason)))
}

fn read_op<'a>(tag: u8, reader: &mut Reader<'a>) -> Option<Op<'a>> {
    Some(match tag {
        Ops::PUT => Op::Put { key: reader.bytes()?, value: reader.bytes()? },
        Ops::DELETE => Op::Delete { key: reader.bytes()? },
        Ops::DELETE_RANGE => Op::DeleteRange { from: reader.bytes()?, to: reader.bytes()? },
        Ops::PUT_ELEMENTS => {
            let (row, from, count) = (reader.bytes()?, reader.number()?, reader.number()?);
            // There is a sequence number after the last.
            from.checked_add(count)?;
            let all = reader.0;
            for _ in 0..count {
                reader.bytes()?;
            }
            let values = EncodedElements(all.get(..all.len() - reader.0.len())?);
            Op::PutElements { row, from, values }
        }
        Ops::DELETE_ELEMENTS => {
            let (row, from, to) = (reader.bytes()?, reader.number()?, reader.number()?);
            (from <= to).then_some(Op::DeleteElements { row, from, to })?
        }
        _ => return None,
    })
}
