//! The old format of deltas, from 0.1.0 before lengths could have more than 32 bits. It is read, but never written.
//!
//! ```text
//! body     [epoch u64][worker u32]
//!          [blobs u32]    { [name: len u32, bytes] [value: len u32, bytes] } …
//!          [sections u32] { [state: len u32, bytes] [ops: len u32, bytes] } …
//! ops      1 put [key: len u32, bytes] [value: len u32, bytes]
//!          2 delete [key]      3 delete range [from] [to]      4 delete elements [row] [from u64] [to u64]
//!          5 put elements [row] [from u64] [values: len u32, { [value: len u32, bytes] } …]
//! (all integers little-endian)
//! ```

use super::content::Delta;
use super::ops::Ops;
use crate::lengths::Reader;

pub(super) const MAGIC: &[u8; 8] = b"TMDELTA1";

/// Reads the body of a delta. Returns `None` if the bytes are not one.
pub(super) fn decode_body(body: &[u8]) -> Option<Delta> {
    let mut body = Reader(body);
    let epoch = long(&mut body)?;
    let mut delta = Delta::new(epoch, short(&mut body)?);
    for _ in 0..short(&mut body)? {
        let (name, value) = (text(&mut body)?, bytes(&mut body)?.to_vec());
        delta.blobs.insert(name, value);
    }
    for _ in 0..short(&mut body)? {
        let (state, ops) = (text(&mut body)?, ops_of(bytes(&mut body)?)?);
        delta.sections.insert(state, ops);
    }
    body.0.is_empty().then_some(delta)
}

fn ops_of(section: &[u8]) -> Option<Ops> {
    let (mut ops, mut rest) = (Ops::default(), Reader(section));
    while let Some([tag]) = rest.array() {
        match tag {
            1 => ops.put(bytes(&mut rest)?, bytes(&mut rest)?).ok()?,
            2 => ops.delete(bytes(&mut rest)?),
            3 => ops.delete_range(bytes(&mut rest)?, bytes(&mut rest)?),
            4 => ops.delete_elements(bytes(&mut rest)?, long(&mut rest)?, long(&mut rest)?),
            5 => {
                let (row, from, mut all) = (bytes(&mut rest)?, long(&mut rest)?, Reader(bytes(&mut rest)?));
                let mut values = Vec::new();
                while !all.0.is_empty() {
                    values.push(bytes(&mut all)?);
                }
                let copy = |value: &[u8], out: &mut Vec<u8>| {
                    out.extend_from_slice(value);
                    Ok(())
                };
                ops.put_elements(row, from, values.into_iter(), copy).ok()?;
            }
            _ => return None,
        }
    }
    let readable = ops.iter().all(|op| op.is_some());
    readable.then_some(ops)
}

fn short(from: &mut Reader<'_>) -> Option<u32> {
    from.array().map(u32::from_le_bytes)
}

fn long(from: &mut Reader<'_>) -> Option<u64> {
    from.array().map(u64::from_le_bytes)
}

fn bytes<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = short(from)?;
    from.take(len.into())
}

fn text(from: &mut Reader<'_>) -> Option<String> {
    String::from_utf8(bytes(from)?.to_vec()).ok()
}
