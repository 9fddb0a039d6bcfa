//! The file format of a delta: encoding and decoding.

use std::borrow::Cow;
use std::ops::Range;

use super::content::Delta;
use super::old;
use super::ops::Ops;
use crate::lengths::{Reader, push_number};

const MAGIC: &[u8; 8] = b"TMDELTA2";
/// Number of bytes before the body.
const HEAD_BYTES: usize = 16;

/// A delta's file in pieces, so that large parts are written without a copy.
pub(super) struct DeltaFile<'a> {
    pieces: Vec<Cow<'a, [u8]>>,
    pub(super) len: u64,
    /// Checksum of the whole file.
    pub(super) crc32: u32,
}

impl<'a> DeltaFile<'a> {
    pub(super) fn of(delta: &'a Delta) -> Self {
        let Delta { epoch, worker, blobs, sections } = delta;
        let mut body = Pieces::default();
        push_number(&mut body.small, *epoch);
        push_number(&mut body.small, (*worker).into());
        push_number(&mut body.small, blobs.len() as u64);
        for (name, value) in blobs {
            body.bytes(name.as_bytes());
            body.bytes(value);
        }
        push_number(&mut body.small, sections.len() as u64);
        for (state, ops) in sections {
            body.bytes(state.as_bytes());
            body.bytes(ops.as_slice());
        }
        Self::around(body.finish())
    }

    fn around(body: Vec<Cow<'a, [u8]>>) -> Self {
        let body_len: u64 = body.iter().map(|piece| piece.len() as u64).sum();
        let mut of_body = crc32fast::Hasher::new();
        body.iter().for_each(|piece| of_body.update(piece));
        let head = [&MAGIC[..], &body_len.to_le_bytes()].concat();
        let tail = of_body.clone().finalize().to_le_bytes();
        let mut of_file = crc32fast::Hasher::new();
        of_file.update(&head);
        of_file.combine(&of_body);
        of_file.update(&tail);
        let len = body_len + (head.len() + tail.len()) as u64;
        let pieces = [Cow::Owned(head)].into_iter().chain(body).chain([Cow::Owned(tail.to_vec())]).collect();
        Self { pieces, len, crc32: of_file.finalize() }
    }

    pub(super) fn pieces(&self) -> Vec<&[u8]> {
        self.pieces.iter().map(AsRef::as_ref).collect()
    }
}

#[derive(Default)]
struct Pieces<'a> {
    done: Vec<Cow<'a, [u8]>>,
    /// The piece into which small parts are copied.
    small: Vec<u8>,
}

impl<'a> Pieces<'a> {
    const SMALL: usize = 16 << 10;

    fn bytes(&mut self, bytes: &'a [u8]) {
        push_number(&mut self.small, bytes.len() as u64);
        if bytes.len() < Self::SMALL {
            self.small.extend_from_slice(bytes);
        } else {
            self.done.push(Cow::Owned(std::mem::take(&mut self.small)));
            self.done.push(Cow::Borrowed(bytes));
        }
    }

    fn finish(mut self) -> Vec<Cow<'a, [u8]>> {
        self.done.push(Cow::Owned(self.small));
        self.done
    }
}

/// Returns the delta in a file, or a text that says what is wrong with the file and where.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Delta, String> {
    let (body, is_old) = checked_body(&bytes)?;
    if is_old {
        return old::decode_body(body).ok_or_else(|| unreadable(None));
    }
    let mut rest = Reader(body);
    let places = Parts::read(&mut rest).map(|parts| parts.places(&bytes));
    let at = HEAD_BYTES + body.len() - rest.0.len();
    places.and_then(|places| places.into_delta(bytes)).ok_or_else(|| unreadable(Some(at)))
}

/// Returns the delta in a file without its changes of states, which are not looked at.
pub(super) fn decode_blobs(bytes: Vec<u8>) -> Result<Delta, String> {
    let (body, is_old) = checked_body(&bytes)?;
    let parts = if is_old { None } else { Parts::read(&mut Reader(body)) };
    match parts {
        Some(parts) => Ok(parts.blobs()),
        None => decode(bytes),
    }
}

fn unreadable(at: Option<usize>) -> String {
    let at = at.map_or(String::new(), |at| format!(" at {at}"));
    format!("its body cannot be read{at}, although its checksum is right")
}

/// Returns the body of a file, whose checksum is right, and whether it has the old format.
fn checked_body(bytes: &[u8]) -> Result<(&[u8], bool), String> {
    let mut file = Reader(bytes);
    let magic = file.array::<8>();
    if magic != Some(*MAGIC) && magic != Some(*old::MAGIC) {
        return Err("it does not begin as a delta of this format".to_owned());
    }
    let len =
        file.array().map(u64::from_le_bytes).ok_or_else(|| format!("it is cut off in its head, at {}", bytes.len()))?;
    let body = file.take(len).ok_or_else(|| {
        format!("it is cut off: its body has {len} bytes from {HEAD_BYTES} on, the file ends at {}", bytes.len())
    })?;
    let found = crc32fast::hash(body);
    if file.0 != found.to_le_bytes() {
        return Err(format!("its checksum is wrong: its {len} bytes from {HEAD_BYTES} on have {found:08x}"));
    }
    Ok((body, magic == Some(*old::MAGIC)))
}

/// The parts of a body, borrowed from its bytes.
struct Parts<'a> {
    epoch: u64,
    worker: u32,
    blobs: Vec<(&'a str, &'a [u8])>,
    sections: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn read(body: &mut Reader<'a>) -> Option<Self> {
        let (epoch, worker) = (body.number()?, u32::try_from(body.number()?).ok()?);
        let (blobs, sections) = (read_named(body)?, read_named(body)?);
        body.0.is_empty().then_some(Self { epoch, worker, blobs, sections })
    }

    /// Returns a delta with the blobs alone.
    fn blobs(&self) -> Delta {
        let mut delta = Delta::new(self.epoch, self.worker);
        delta.blobs = self.blobs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        delta
    }

    /// Returns the parts with the places of the sections in `file`, from which they were read.
    fn places(&self, file: &[u8]) -> Places {
        let place = |section: &[u8]| {
            let start = section.as_ptr() as usize - file.as_ptr() as usize;
            start..start + section.len()
        };
        let sections = self.sections.iter().map(|(state, section)| ((*state).to_owned(), place(section))).collect();
        Places { blobs: self.blobs(), sections }
    }
}

/// The parts of a file: a delta with the blobs, and where the sections are.
struct Places {
    blobs: Delta,
    sections: Vec<(String, Range<usize>)>,
}

impl Places {
    /// Returns the delta. The section that is most of the file keeps the file's bytes, because a copy of it would take long.
    fn into_delta(self, mut file: Vec<u8>) -> Option<Delta> {
        let Self { blobs: mut delta, mut sections } = self;
        // It comes last, when nothing else is read from the file.
        sections.sort_by_key(|(_, place)| place.len());
        for (state, place) in sections {
            let ops = if place.len() > file.len() / 2 {
                Ops::read(std::mem::take(&mut file), place)?
            } else {
                Ops::read(file.get(place.clone())?.to_vec(), 0..place.len())?
            };
            delta.sections.insert(state, ops);
        }
        Some(delta)
    }
}

fn read_named<'a>(body: &mut Reader<'a>) -> Option<Vec<(&'a str, &'a [u8])>> {
    let mut named = Vec::new();
    for _ in 0..body.number()? {
        named.push((body.text()?, body.bytes()?));
    }
    Some(named)
}

#[cfg(test)]
mod tests;
