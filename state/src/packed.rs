//! Short lists in one row: once entries are evicted, a list is read with one lookup and written as one row.
//!
//! ```text
//! row key    [row key of the list][0x80]              between its elements and the end of the range that removes it
//! value      [version, expiry: as in any row][head][header] { [element] } …
//! (head: sequence number of the front element; header and elements with their length in front, as in `lengths.rs`)
//! ```
//! A list has either this row or those of `log.rs`, never both.

use crate::codec::{self, DecodeError};
use crate::lengths::{Reader, push_number, push_with};

/// The suffix of a packed list's row key.
pub(crate) const SUFFIX: &[u8] = &[0x80];

/// Maximum number of elements of a list that is packed.
pub(crate) const MOST_ELEMENTS: usize = 64;
/// Maximum size in bytes of a row into which a list is packed. A packed list that grows stays packed up to twice that, so
/// that a list around the limit does not change its form again and again.
pub(crate) const MOST_BYTES: usize = 512;

/// A packed list, as its row has it.
pub(crate) struct Packed<'b> {
    /// The encoded header.
    pub(crate) header: &'b [u8],
    head: u64,
    elements: Reader<'b>,
}

impl<'b> Packed<'b> {
    /// Reads the part of a row's value that follows its version and expiry.
    pub(crate) fn read(body: &'b [u8]) -> Result<Self, DecodeError> {
        let (cut, mut reader) = (|| DecodeError("its packed list is cut".to_owned()), Reader(body));
        let head = reader.number().ok_or_else(cut)?;
        let header = reader.bytes().ok_or_else(cut)?;
        let (elements, mut count) = (reader, 0);
        while !reader.0.is_empty() {
            reader.bytes().ok_or_else(cut)?;
            count += 1;
        }
        head.checked_add(count).ok_or_else(|| DecodeError(format!("its packed list begins at {head}")))?;
        Ok(Self { header, head, elements })
    }

    /// Returns the encoded elements, each with its sequence number.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (u64, &'b [u8])> {
        let mut rest = self.elements;
        (self.head..).zip(std::iter::from_fn(move || rest.bytes()))
    }

    /// Returns the sequence number of the front element.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Writes the list with another header and other elements, which `header` and `element` write.
    pub(crate) fn renew(
        &self,
        header: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), DecodeError>,
        element: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), DecodeError>,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        push_number(out, self.head);
        push_with(out, |out| header(self.header, out))?;
        self.elements().try_for_each(|(_, old)| push_with(out, |out| element(old, out)).map(drop))
    }

    /// Calls `visit` with the rows that the list would have if it were not packed. `row` is the key of the packed row, and
    /// `before` the part of its value that precedes the list.
    pub(crate) fn unpack<E>(
        &self,
        row: &[u8],
        before: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let mut row = row.strip_suffix(SUFFIX).unwrap_or(row).to_vec();
        if !self.header.is_empty() && !visit(&row, &[before, self.header].concat())? {
            return Ok(false);
        }
        for (sequence, element) in self.elements() {
            let value = [before, element].concat();
            if !codec::with_sequence(&mut row, sequence, |row| visit(row, &value))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
