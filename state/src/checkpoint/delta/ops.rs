//! The changes of one state, encoded one after the other.
//!
//! ```text
//! 1 put [key][value]           2 delete [key]        3 delete range [from key][to key]
//! 4 delete elements [row][from][to]                  5 put elements [row][from][number of values] { [value] } …
//! (keys and values with their length in front; lengths and numbers as in `lengths.rs`)
//! ```
//! Keys are row keys as in `codec.rs`, whose length is checked where they are encoded. All keys of a range are in one
//! key group.

use std::ops::Range;

use crate::codec::{DecodeError, row_too_long};
use crate::lengths::{Reader, push_bytes, push_number, push_with};

/// Number of bytes that the sequence number of an element adds to its list's row key.
const SEQUENCE_BYTES: usize = 8;

/// A change of one row, or of several rows that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Sets the value of a row.
    Put {
        /// Row key.
        key: &'a [u8],
        /// Encoded value.
        value: &'a [u8],
    },
    /// Deletes a row.
    Delete {
        /// Row key.
        key: &'a [u8],
    },
    /// Deletes all rows from `from` up to, and without, `to`.
    DeleteRange {
        /// First row key.
        from: &'a [u8],
        /// Row key after the last one.
        to: &'a [u8],
    },
    /// Appends elements to a list, one row each.
    PutElements {
        /// Row key of the list, without a sequence number.
        row: &'a [u8],
        /// Sequence number of the first element.
        from: u64,
        /// Encoded values of the elements.
        values: EncodedElements<'a>,
    },
    /// Deletes elements of a list, row by row. It is not a range of rows, because RocksDB reads slowly where many
    /// ranges were deleted.
    DeleteElements {
        /// Row key of the list, without a sequence number.
        row: &'a [u8],
        /// Sequence number of the first element.
        from: u64,
        /// Sequence number after that of the last element.
        to: u64,
    },
}

impl<'a> Op<'a> {
    /// Returns the row key, the first key of a range, or the row key of a list.
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

/// An iterator over the encoded values of a list's elements.
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

/// The encoded changes of one state, in order.
#[derive(Clone, Debug, Default)]
pub struct Ops {
    bytes: Vec<u8>,
    /// The changes begin here. What comes before is the rest of the file that they were read from.
    from: usize,
}

impl Ops {
    const PUT: u8 = 1;
    const DELETE: u8 = 2;
    const DELETE_RANGE: u8 = 3;
    const DELETE_ELEMENTS: u8 = 4;
    const PUT_ELEMENTS: u8 = 5;

    /// Returns no changes yet, with room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), from: 0 }
    }

    /// Adds a put. If the row is too long to be kept, nothing is added.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        fits(key.len(), value.len())?;
        self.bytes.push(Self::PUT);
        push_bytes(&mut self.bytes, key);
        push_bytes(&mut self.bytes, value);
        Ok(())
    }

    /// Adds a put, whose value is written by `value`.
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

    /// Adds elements of a list, whose sequence numbers begin with `from`. `value` writes each of them.
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
        self.bytes.push(Self::DELETE);
        push_bytes(&mut self.bytes, key);
    }

    pub(crate) fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.bytes.push(Self::DELETE_RANGE);
        push_bytes(&mut self.bytes, from);
        push_bytes(&mut self.bytes, to);
    }

    pub(crate) fn delete_elements(&mut self, row: &[u8], from: u64, to: u64) {
        self.bytes.push(Self::DELETE_ELEMENTS);
        push_bytes(&mut self.bytes, row);
        push_number(&mut self.bytes, from);
        push_number(&mut self.bytes, to);
    }

    fn whole_or_not_at_all(
        &mut self,
        add: impl FnOnce(&mut Vec<u8>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let before = self.bytes.len();
        let added = add(&mut self.bytes);
        if added.is_err() {
            self.bytes.truncate(before);
        }
        added
    }

    /// Returns the changes in order. A change that cannot be read is `None`, and ends the iteration.
    pub fn iter(&self) -> impl Iterator<Item = Option<Op<'_>>> {
        let mut rest = self.as_slice();
        std::iter::from_fn(move || {
            let (tag, after) = rest.split_first()?;
            let mut reader = Reader(after);
            let op = read_op(*tag, &mut reader);
            rest = if op.is_some() { reader.0 } else { &[] };
            Some(op)
        })
    }

    /// Reads encoded changes, which are this part of `bytes`. Returns `None` if one of them cannot be read.
    pub(super) fn read(mut bytes: Vec<u8>, part: Range<usize>) -> Option<Self> {
        bytes.truncate(part.end);
        let ops = Self { bytes, from: part.start };
        let readable = ops.iter().all(|op| op.is_some());
        readable.then_some(ops)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    /// Returns the encoded size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.from
    }

    /// Returns whether there are no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for Ops {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Ops {}

#[inline]
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
            // The sequence number after the last one must exist as well.
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
