//! Tests that files are read as they were written, at any length, and that any change of their bytes is an error or
//! harmless.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{EncodedElements, Op};
use super::*;
use crate::lengths::push_bytes;

/// An op as a test writes it.
#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    DeleteElements(Vec<u8>, u64, u64),
    PutElements(Vec<u8>, u64, Vec<Vec<u8>>),
}

impl Change {
    fn add(&self, ops: &mut Ops) {
        let copy = |value: &Vec<u8>, out: &mut Vec<u8>| {
            out.extend_from_slice(value);
            Ok(())
        };
        match self {
            Self::Put(key, value) => ops.put_with(key, |out| copy(value, out)).unwrap(),
            Self::Delete(key) => ops.delete(key),
            Self::DeleteRange(from, to) => ops.delete_range(from, to),
            Self::DeleteElements(row, from, to) => ops.delete_elements(row, *from, *to),
            Self::PutElements(row, from, values) => ops.put_elements(row, *from, values.iter(), copy).unwrap(),
        }
    }

    fn is(&self, op: &Op<'_>) -> bool {
        let all = |values: &EncodedElements<'_>| values.map(<[u8]>::to_vec).collect::<Vec<_>>();
        match (self, op) {
            (Self::Put(key, value), Op::Put { key: k, value: v }) => key == k && value == v,
            (Self::Delete(key), Op::Delete { key: k }) => key == k,
            (Self::DeleteRange(a, b), Op::DeleteRange { from, to }) => a == from && b == to,
            (Self::DeleteElements(r, a, b), Op::DeleteElements { row, from, to }) => (&r[..], a, b) == (*row, from, to),
            (Self::PutElements(r, a, all_of), Op::PutElements { row, from, values }) => {
                (&r[..], a) == (*row, from) && *all_of == all(values)
            }
            _ => false,
        }
    }

    /// Writes the change in the old format.
    fn add_old(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(key, value) => {
                out.push(1);
                old_bytes(out, key);
                old_bytes(out, value);
            }
            Self::Delete(key) => {
                out.push(2);
                old_bytes(out, key);
            }
            Self::DeleteRange(from, to) => {
                out.push(3);
                old_bytes(out, from);
                old_bytes(out, to);
            }
            Self::DeleteElements(row, from, to) => {
                out.push(4);
                old_bytes(out, row);
                out.extend([from.to_le_bytes(), to.to_le_bytes()].concat());
            }
            Self::PutElements(row, from, values) => {
                out.push(5);
                old_bytes(out, row);
                out.extend(from.to_le_bytes());
                let mut all = Vec::new();
                values.iter().for_each(|value| old_bytes(&mut all, value));
                old_bytes(out, &all);
            }
        }
    }
}

fn old_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

type Sections = BTreeMap<String, Vec<Change>>;
type Blobs = BTreeMap<String, Vec<u8>>;

fn changes() -> impl Strategy<Value = Change> {
    let bytes = || prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..40), 1 => prop::collection::vec(any::<u8>(), 120..300)];
    prop_oneof![
        (bytes(), bytes()).prop_map(|(key, value)| Change::Put(key, value)),
        bytes().prop_map(Change::Delete),
        (bytes(), bytes()).prop_map(|(from, to)| Change::DeleteRange(from, to)),
        (bytes(), any::<u32>(), any::<u32>()).prop_map(|(row, from, more)| Change::DeleteElements(
            row,
            from.into(),
            u64::from(from) + u64::from(more)
        )),
        (bytes(), any::<u32>(), prop::collection::vec(bytes(), 0..5))
            .prop_map(|(row, from, values)| Change::PutElements(row, from.into(), values)),
    ]
}

fn contents() -> impl Strategy<Value = (Blobs, Sections)> {
    let blobs = prop::collection::btree_map("[a-z/]{0,12}", prop::collection::vec(any::<u8>(), 0..200), 0..4);
    let sections = prop::collection::btree_map("[a-z/]{0,12}", prop::collection::vec(changes(), 0..6), 0..4);
    (blobs, sections)
}

fn delta(blobs: &Blobs, sections: &Sections) -> Delta {
    let mut delta = Delta::new(300, 2);
    delta.blobs = blobs.clone();
    for (state, changes) in sections {
        changes.iter().for_each(|change| change.add(delta.section(state)));
        delta.section(state);
    }
    delta
}

fn bytes_of(delta: &Delta) -> Vec<u8> {
    let file = DeltaFile::of(delta);
    let bytes = file.pieces().concat();
    assert_eq!((file.len, file.crc32), (bytes.len() as u64, crc32fast::hash(&bytes)));
    bytes
}

fn with_head_and_checksum(magic: &[u8], body: &[u8]) -> Vec<u8> {
    [magic, &(body.len() as u64).to_le_bytes(), body, &crc32fast::hash(body).to_le_bytes()].concat()
}

fn old_file(blobs: &Blobs, sections: &Sections) -> Vec<u8> {
    let mut body = [&300_u64.to_le_bytes()[..], &2_u32.to_le_bytes(), &(blobs.len() as u32).to_le_bytes()].concat();
    for (name, value) in blobs {
        old_bytes(&mut body, name.as_bytes());
        old_bytes(&mut body, value);
    }
    body.extend((sections.len() as u32).to_le_bytes());
    for (state, changes) in sections {
        old_bytes(&mut body, state.as_bytes());
        let mut ops = Vec::new();
        changes.iter().for_each(|change| change.add_old(&mut ops));
        old_bytes(&mut body, &ops);
    }
    with_head_and_checksum(old::MAGIC, &body)
}

/// Reads the whole delta, as a restore does. Returns the number of rows and changes in it.
fn walk(delta: &Delta) -> usize {
    let ops = delta.sections.values().flat_map(Ops::iter);
    ops.map(|op| op.map_or(0, |op| if let Op::PutElements { values, .. } = op { values.count() } else { 1 })).sum()
}

/// The output is longer than 32 bits can count. Its memory is never written, so the system never allocates it.
#[test]
fn output_of_more_than_4_gib_is_written_and_found_whole() {
    const LARGE: usize = (4 << 30) + 5;
    let mut delta = Delta::new(7, 1);
    delta.set_blob("sink/a/7".to_owned(), vec![0; LARGE]);
    delta.set_blob("sink/b/7".to_owned(), b"after it".to_vec());
    delta.section("sum/total").put(b"key", b"value").unwrap();
    let file = DeltaFile::of(&delta);
    let small: usize =
        file.pieces.iter().map(|piece| if let Cow::Owned(owned) = piece { owned.len() } else { 0 }).sum();
    assert_eq!(file.len, (LARGE + small) as u64);
    // The file as it would be on a disk; the zeros of the large output need no copy.
    let mut bytes = vec![0; LARGE + small];
    let mut at = 0;
    for piece in &file.pieces {
        if let Cow::Owned(owned) = piece {
            bytes[at..at + owned.len()].copy_from_slice(owned);
        }
        at += piece.len();
    }
    let len = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let parts = Parts::read(&mut Reader(&bytes[HEAD_BYTES..HEAD_BYTES + len as usize])).unwrap();
    let lengths: Vec<_> = parts.blobs.iter().map(|(name, value)| (*name, value.len())).collect();
    assert_eq!(lengths, [("sink/a/7", LARGE), ("sink/b/7", 8)]);
    let section = parts.sections[0].1;
    assert_eq!(Ops::read(section.to_vec(), 0..section.len()).as_ref(), delta.sections.get("sum/total"));
}

#[test]
fn a_row_that_rocksdb_would_not_keep_is_refused_and_leaves_nothing() {
    let mut ops = Ops::default();
    ops.put(b"before", b"it").unwrap();
    let before = ops.clone();
    let huge = vec![0; crate::codec::MAX_ROW_BYTES];
    let reason = ops.put(b"k", &huge).unwrap_err().0;
    assert!(reason.contains("3221225473 bytes") && reason.contains("the maximum is 3221225472"), "{reason}");
    assert_eq!(ops, before);
}

proptest! {
    #[test]
    fn a_delta_is_read_as_it_was_written((blobs, sections) in contents()) {
        let delta = delta(&blobs, &sections);
        let bytes = bytes_of(&delta);
        prop_assert_eq!(decode(bytes), Ok(delta.clone()));
        for (state, changes) in &sections {
            let ops: Vec<Op<'_>> = delta.sections[state].iter().map(|op| op.expect("it can be read")).collect();
            prop_assert_eq!(ops.len(), changes.len());
            prop_assert!(changes.iter().zip(&ops).all(|(change, op)| change.is(op)), "{:?}", ops);
        }
    }

    #[test]
    fn a_file_of_the_old_format_is_read_the_same((blobs, sections) in contents()) {
        prop_assert_eq!(decode(old_file(&blobs, &sections)), Ok(delta(&blobs, &sections)));
    }

    #[test]
    fn a_flipped_byte_is_an_error_that_says_where_or_what(
        (blobs, sections) in contents(), at in any::<prop::sample::Index>(), flip in 1..=255_u8, old in any::<bool>(),
    ) {
        let mut bytes = if old { old_file(&blobs, &sections) } else { bytes_of(&delta(&blobs, &sections)) };
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let reason = decode(bytes).unwrap_err();
        let words = ["does not begin as a delta", "is cut off", "checksum is wrong"];
        prop_assert!(words.iter().any(|words| reason.contains(words)), "{}", reason);
    }

    #[test]
    fn a_cut_file_is_an_error_that_says_where(
        (blobs, sections) in contents(), cut in any::<prop::sample::Index>(), old in any::<bool>(),
    ) {
        let bytes = if old { old_file(&blobs, &sections) } else { bytes_of(&delta(&blobs, &sections)) };
        let cut = cut.index(bytes.len());
        let reason = decode(bytes[..cut].to_vec()).unwrap_err();
        prop_assert!(cut < 8 || reason.contains(&cut.to_string()) || reason.contains("checksum"), "{} at {}", reason, cut);
    }

    /// The body is forged, which does not happen by accident: the checksum is right, but the body is not. Lengths in it
    /// may have any value.
    #[test]
    fn a_forged_body_neither_panics_nor_asks_for_more_than_the_file_has(
        (blobs, sections) in contents(), at in any::<prop::sample::Index>(),
        forged in prop::collection::vec(prop_oneof![Just(0xff_u8), any::<u8>()], 1..12), instead in 0..12_usize,
        old in any::<bool>(),
    ) {
        let file = if old { old_file(&blobs, &sections) } else { bytes_of(&delta(&blobs, &sections)) };
        let mut body = file[HEAD_BYTES..file.len() - 4].to_vec();
        let at = at.index(body.len());
        let end = (at + instead).min(body.len());
        body.splice(at..end, forged);
        match decode(with_head_and_checksum(&file[..8], &body)) {
            Ok(read) => prop_assert!(walk(&read) <= body.len()),
            Err(reason) => prop_assert!(reason.contains("although its checksum is right"), "{}", reason),
        }
    }

    #[test]
    fn decoding_any_bytes_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(bytes.clone()).is_err());
        for magic in [MAGIC, old::MAGIC] {
            if let Ok(read) = decode(with_head_and_checksum(magic, &bytes)) {
                prop_assert!(walk(&read) <= bytes.len());
            }
        }
        let mut section = Vec::new();
        push_bytes(&mut section, &bytes);
        let len = section.len();
        prop_assert!(Ops::read(section, 0..len).is_none_or(|ops| ops.len() == len));
    }
}
