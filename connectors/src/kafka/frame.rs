//! The header that Confluent's serializers put before a payload.

use super::decode::NotDecoded;

/// Splits a payload in Confluent's wire format: a zero, the schema's id, and the rest.
pub(super) fn framed(payload: &[u8]) -> Result<(u32, &[u8]), NotDecoded> {
    match payload.split_first() {
        Some((0, rest)) => match rest.split_first_chunk::<4>() {
            Some((id, rest)) => Ok((u32::from_be_bytes(*id), rest)),
            None => Err(NotDecoded::poison("it is cut off before its schema's id")),
        },
        Some((first, _)) => {
            Err(NotDecoded::poison(format!("it begins with byte {first}, not with the 0 of a schema's id")))
        }
        None => Err(NotDecoded::poison("it is empty")),
    }
}
