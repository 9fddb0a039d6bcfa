//! What one worker changed in one epoch, in memory and as a file.
//!
//! ```text
//! file     "TMDELTA1" [len of body u64 LE] [body] [crc32 of body u32 LE]
//! body     [epoch u64][worker u32]
//!          [blobs u32]    { [name: len u32, bytes] [value: len u32, bytes] } …
//!          [sections u32] { [state: len u32, bytes] [ops: len u32, bytes] } …
//! ops      1 put [key: len u32, bytes] [value: len u32, bytes]
//!          2 delete [key]      3 delete range [from] [to]      4 delete elements [row] [from u64] [to u64]
//!          5 put elements [row] [from u64] [values: len u32, { [value: len u32, bytes] } …]
//! (all integers little-endian)
//! ```
//! Keys are rows as in `codec.rs`; every key of a range is in one key group. Decoding never panics:
//! the checksum is verified before anything is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::StateError;
use crate::store::CheckpointStore;

const MAGIC: &[u8; 8] = b"TMDELTA1";

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
        values: Elements<'a>,
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
pub struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
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

    /// Adds a put.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.push(Self::PUT);
        push_bytes(&mut self.0, key);
        push_bytes(&mut self.0, value);
    }

    /// Adds a put whose value is written by `value`.
    pub(crate) fn put_with<E>(
        &mut self,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.push(Self::PUT);
        push_bytes(&mut self.0, key);
        push_with(&mut self.0, value)
    }

    /// Adds the elements of a list from sequence number `from` on; `value` writes each.
    pub(crate) fn put_elements<V, E>(
        &mut self,
        row: &[u8],
        from: u64,
        values: impl Iterator<Item = V>,
        mut value: impl FnMut(V, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.push(Self::PUT_ELEMENTS);
        push_bytes(&mut self.0, row);
        self.0.extend_from_slice(&from.to_le_bytes());
        push_with(&mut self.0, |out| values.into_iter().try_for_each(|v| push_with(out, |out| value(v, out))))
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
        self.0.extend_from_slice(&from.to_le_bytes());
        self.0.extend_from_slice(&to.to_le_bytes());
    }

    /// The changes in order; `None` in the place of one that cannot be read.
    pub fn iter(&self) -> impl Iterator<Item = Option<Op<'_>>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (tag, after) = rest.split_first()?;
            let mut reader = Reader(after);
            let op = match *tag {
                Self::PUT => reader.bytes().zip(reader.bytes()).map(|(key, value)| Op::Put { key, value }),
                Self::DELETE => reader.bytes().map(|key| Op::Delete { key }),
                Self::DELETE_RANGE => reader.bytes().zip(reader.bytes()).map(|(from, to)| Op::DeleteRange { from, to }),
                Self::PUT_ELEMENTS => reader.put_elements(),
                Self::DELETE_ELEMENTS => reader.delete_elements(),
                _ => None,
            };
            rest = if op.is_some() { reader.0 } else { &[] };
            Some(op)
        })
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

/// What one worker changed in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    epoch: u64,
    worker: u32,
    blobs: BTreeMap<String, Vec<u8>>,
    sections: BTreeMap<String, Ops>,
}

/// A delta file as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaEntry {
    /// The epoch it is of.
    pub epoch: u64,
    /// Its name in the checkpoint store.
    pub file: String,
    /// Its length in bytes.
    pub len: u64,
    /// Checksum of the whole file.
    pub crc32: u32,
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

    fn encode(&self) -> Vec<u8> {
        let Self { epoch, worker, blobs, sections } = self;
        let blob_bytes: usize = blobs.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let mut out = Vec::with_capacity(64 + blob_bytes + self.ops_len() + 64 * sections.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(&worker.to_le_bytes());
        out.extend_from_slice(&(blobs.len() as u32).to_le_bytes());
        for (name, value) in blobs {
            push_bytes(&mut out, name.as_bytes());
            push_bytes(&mut out, value);
        }
        out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
        for (state, Ops(ops)) in sections {
            push_bytes(&mut out, state.as_bytes());
            push_bytes(&mut out, ops);
        }
        let len = (out.len() - 16) as u64;
        out[8..16].copy_from_slice(&len.to_le_bytes());
        let crc = crc32fast::hash(&out[16..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut file = Reader(bytes);
        if file.array::<8>() != Some(*MAGIC) {
            return Err("it does not begin as a delta of this format");
        }
        let len = file.array().map(u64::from_le_bytes).ok_or("its header is cut off")?;
        let (body, tail) =
            usize::try_from(len).ok().and_then(|len| file.0.split_at_checked(len)).ok_or("it is cut off")?;
        if tail != crc32fast::hash(body).to_le_bytes() {
            return Err("its checksum is wrong");
        }
        Self::decode_body(body).ok_or("its body cannot be read although its checksum is right")
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let mut body = Reader(body);
        let epoch = u64::from_le_bytes(body.array()?);
        let mut delta = Self::new(epoch, u32::from_le_bytes(body.array()?));
        for _ in 0..u32::from_le_bytes(body.array()?) {
            let (name, value) = (body.text()?, body.bytes()?.to_vec());
            delta.blobs.insert(name, value);
        }
        for _ in 0..u32::from_le_bytes(body.array()?) {
            let (state, ops) = (body.text()?, Ops(body.bytes()?.to_vec()));
            ops.iter().all(|op| op.is_some()).then_some(())?;
            delta.sections.insert(state, ops);
        }
        body.0.is_empty().then_some(delta)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn store(&self, store: &dyn CheckpointStore, incarnation: u64) -> Result<DeltaEntry, StateError> {
        let file = format!("deltas/{:020}-w{:03}-{incarnation:016x}.delta", self.epoch, self.worker);
        let bytes = self.encode();
        store.put(&file, &bytes)?;
        Ok(DeltaEntry { epoch: self.epoch, file, len: bytes.len() as u64, crc32: crc32fast::hash(&bytes) })
    }

    /// Writes it under a name of its own. Returns the length of the file.
    pub(crate) fn put(&self, store: &dyn CheckpointStore, file: &str) -> Result<u64, StateError> {
        let bytes = self.encode();
        store.put(file, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Reads what [`put`](Self::put) wrote.
    pub(crate) fn get(store: &dyn CheckpointStore, file: &str) -> Result<Self, StateError> {
        let corrupt = |reason: &str| StateError::Corrupt { file: file.to_owned(), reason: reason.to_owned() };
        Self::decode(&store.get(file)?).map_err(corrupt)
    }

    /// Reads the file that a manifest names.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] naming the file when it is not what was written.
    pub fn load(store: &dyn CheckpointStore, entry: &DeltaEntry) -> Result<Self, StateError> {
        let bytes = store.get(&entry.file)?;
        let corrupt = |reason: &str| StateError::Corrupt { file: entry.file.clone(), reason: reason.to_owned() };
        if bytes.len() as u64 != entry.len || crc32fast::hash(&bytes) != entry.crc32 {
            return Err(corrupt("its length or checksum is not what the manifest says"));
        }
        let delta = Self::decode(&bytes).map_err(corrupt)?;
        if delta.epoch == entry.epoch { Ok(delta) } else { Err(corrupt("it is of another epoch")) }
    }
}

/// The blobs of a stored delta, by name.
///
/// # Errors
/// As [`Delta::load`].
pub fn blobs_of(store: &dyn CheckpointStore, entry: &DeltaEntry) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
    Delta::load(store, entry).map(|delta| delta.blobs)
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Adds what `write` writes, its length in front.
fn push_with<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn put_elements(&mut self) -> Option<Op<'a>> {
        let row = self.bytes()?;
        let from = u64::from_le_bytes(self.array()?);
        Some(Op::PutElements { row, from, values: Elements(self.bytes()?) })
    }

    fn delete_elements(&mut self) -> Option<Op<'a>> {
        let row = self.bytes()?;
        let (from, to) = (u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
        Some(Op::DeleteElements { row, from, to })
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Delta {
        let mut delta = Delta::new(7, 2);
        delta.set_blob("source/a/position".to_owned(), vec![1, 2, 3]);
        let ops = delta.section("sum/total");
        ops.put(b"k1", b"value");
        ops.delete(b"k2");
        ops.delete_range(b"k3", b"k4");
        ops.delete_elements(b"k5", 3, 5);
        ops.put_elements(b"k5", 7, ["a", "", "bc"].iter(), |value, out| {
            out.extend_from_slice(value.as_bytes());
            Ok::<_, ()>(())
        })
        .unwrap();
        delta
    }

    #[test]
    fn a_delta_is_read_as_it_was_written() {
        let delta = sample();
        assert_eq!(Delta::decode(&delta.encode()), Ok(delta.clone()));
        let ops: Vec<Op> = delta.sections["sum/total"].iter().map(Option::unwrap).collect();
        assert_eq!(
            ops,
            [
                Op::Put { key: b"k1", value: b"value" },
                Op::Delete { key: b"k2" },
                Op::DeleteRange { from: b"k3", to: b"k4" },
                Op::DeleteElements { row: b"k5", from: 3, to: 5 },
                ops[4],
            ]
        );
        let Op::PutElements { row: b"k5", from: 7, values } = ops[4] else { panic!("{:?}", ops[4]) };
        assert_eq!(values.collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
    }

    proptest! {
        #[test]
        fn every_flipped_byte_is_an_error(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = sample().encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Delta::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Delta::decode(&bytes).is_err());
            let _ = Delta::decode_body(&bytes);
            let _ = Ops(bytes).iter().count();
        }
    }
}
