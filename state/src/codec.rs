//! The encoding of keys, values and rows.
//!
//! ```text
//! row key    [key group u16 BE][length of key u32 BE][key, bincode][suffix: nothing, a sequence number u64 BE, or 0x80]
//! ordered    [key group u16 BE][time i64 BE, sign flipped][rest]              (timers, pending records)
//! value      [version u8][expiry i64 LE, only in states with a TTL][bincode]
//! ```
//! `bincode` stands for bincode 2 in its standard configuration, through serde.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use bincode::de::read::Reader;
use bincode::enc::write::Writer;
use bincode::serde::OwnedSerdeDecoder;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use crate::ids::KeyGroup;
use crate::key::hash_key;

/// Maximum size of a row in bytes, key and value together. RocksDB counts a row's bytes in 32 bits and advises not to
/// go beyond 3 GB; it would refuse a longer row without an error that our binding sees.
pub(crate) const MAX_ROW_BYTES: usize = 3 << 30;

/// Returns the reason why a row whose key and value have these lengths cannot be kept, or `None` if it can.
#[inline]
pub(crate) fn row_too_long(key: usize, value: usize) -> Option<String> {
    let bytes = key.saturating_add(value);
    (bytes > MAX_ROW_BYTES).then(|| {
        format!(
            "its row has {bytes} bytes, and the maximum is {MAX_ROW_BYTES}: keep data that grows in a list, which has a row for each element"
        )
    })
}

/// The configuration of bincode. No stored value is longer than a row, so a longer length is damage: it is refused
/// before memory is allocated for it.
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_ROW_BYTES>> = standard().with_limit::<MAX_ROW_BYTES>();

/// The reason why bytes could not be decoded or a value could not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(crate) String);

/// Appends `value` to `out`. Encoding into memory fails only for types that refuse to be serialised.
#[inline]
pub(crate) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    bincode::serde::encode_into_writer(value, Appended(out), CONFIG).map_err(|e| DecodeError(e.to_string()))
}

/// A writer that appends, without what `std::io::Write` needs for writers that can fail.
struct Appended<'v>(&'v mut Vec<u8>);

impl Writer for Appended<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Decodes all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, CONFIG).map_err(|e| DecodeError(e.to_string()))?;
    if read == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError(format!("{} bytes are left over", bytes.len() - read)))
    }
}

/// A reader that leaves what was not read.
struct Rest<'r, 'b>(&'r mut &'b [u8]);

impl Reader for Rest<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), bincode::error::DecodeError> {
        let missing = bytes.len().saturating_sub(self.0.len());
        let (read, rest) = self
            .0
            .split_at_checked(bytes.len())
            .ok_or(bincode::error::DecodeError::UnexpectedEnd { additional: missing })?;
        bytes.copy_from_slice(read);
        *self.0 = rest;
        Ok(())
    }
}

/// Decodes all of `bytes` by a seed, which knows what they are when the program runs, not when it is compiled.
pub(crate) fn decode_by<'de, S: DeserializeSeed<'de>>(bytes: &[u8], seed: S) -> Result<S::Value, DecodeError> {
    let mut rest = bytes;
    let mut decoder = OwnedSerdeDecoder::from_reader(Rest(&mut rest), CONFIG);
    let value = seed.deserialize(decoder.as_deserializer()).map_err(|e| DecodeError(e.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError(format!("{} bytes are left over", rest.len()))) }
}

/// Returns the hash of a value's stored form, which is the same in every process of every run. The value is encoded
/// into `buffer`, which is cleared first.
///
/// # Errors
/// When the type refuses to be serialised; the error is its reason.
pub fn hash_value<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<u64, String> {
    buffer.clear();
    encode(value, buffer).map_err(|DecodeError(reason)| reason)?;
    Ok(hash_key(buffer.as_slice()))
}

/// Appends the encoding of a message between workers to `out`. It is not stored, so it may change.
///
/// # Errors
/// When the type refuses to be serialised; the error is its reason.
pub fn encode_message<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), String> {
    encode(message, out).map_err(|DecodeError(reason)| reason)
}

/// Decodes a message of another worker.
///
/// # Errors
/// When it is not one of this type; the error is the reason.
pub fn decode_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    decode(bytes).map_err(|DecodeError(reason)| reason)
}

/// Writes the row key of `key` without a suffix.
///
/// # Errors
/// When the key refuses to be serialised, or is too long for any row.
pub(crate) fn row_key<K: Serialize>(group: KeyGroup, key: &K, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    out.clear();
    out.extend_from_slice(&group.0.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    encode(key, out)?;
    check_row_key(out)?;
    let len = u32::try_from(out.len() - 6).map_err(|_| DecodeError("its key is too long".to_owned()))?;
    out[2..6].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// Refuses a row key that is too long for any row.
pub(crate) fn check_row_key(row: &[u8]) -> Result<(), DecodeError> {
    row_too_long(row.len(), 0).map_or(Ok(()), |reason| Err(DecodeError(reason)))
}

/// Splits a row key into key group, key bytes and suffix.
pub(crate) fn split_row_key(row: &[u8]) -> Result<(KeyGroup, &[u8], &[u8]), DecodeError> {
    let short = || DecodeError("the row key is too short".to_owned());
    let (group, rest) = row.split_first_chunk::<2>().ok_or_else(short)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (key, suffix) = rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or_else(short)?;
    Ok((KeyGroup(u16::from_be_bytes(*group)), key, suffix))
}

/// Calls `f` with `row` extended by the sequence number of an element, then restores `row`.
pub(crate) fn with_sequence<R>(row: &mut Vec<u8>, sequence: u64, f: impl FnOnce(&[u8]) -> R) -> R {
    with_suffix(row, &sequence.to_be_bytes(), f)
}

/// Calls `f` with `row` extended by `suffix`, then restores `row`.
pub(crate) fn with_suffix<R>(row: &mut Vec<u8>, suffix: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    let len = row.len();
    row.extend_from_slice(suffix);
    let result = f(row);
    row.truncate(len);
    result
}

/// Returns the part of a row key that all rows of its entry share. For a row of another kind (a timer, a pending
/// record) the part has no meaning; it depends on nothing but the row's first bytes.
pub(crate) fn entry_of_row(row: &[u8]) -> &[u8] {
    let len = row.get(2..6).and_then(|len| len.try_into().ok()).map(u32::from_be_bytes);
    len.and_then(|len| row.get(..6 + len as usize)).unwrap_or(row)
}

#[cfg(feature = "rocksdb")]
/// Returns when a value of a state with a TTL expires. `HotTable` writes this time after the value's version.
pub(crate) fn expiry_of_value(value: &[u8]) -> Option<i64> {
    value.get(1..9)?.try_into().ok().map(i64::from_le_bytes)
}

/// Returns the key group of a row of any kind.
pub(crate) fn group_of_row(row: &[u8]) -> KeyGroup {
    KeyGroup(row.first_chunk::<2>().map_or(u16::MAX, |group| u16::from_be_bytes(*group)))
}

/// Encodes a time so that the bytes sort as the times do.
pub(crate) fn ordered_time(time: i64) -> [u8; 8] {
    ((time as u64) ^ (1 << 63)).to_be_bytes()
}

/// Returns the time that [`ordered_time`] encoded.
pub(crate) fn time_of(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordered_times_sort_as_times_do() {
        let times = [i64::MIN, -5, 0, 7, i64::MAX];
        assert!(times.windows(2).all(|pair| ordered_time(pair[0]) < ordered_time(pair[1])));
        assert!(times.iter().all(|t| time_of(ordered_time(*t)) == *t));
    }

    #[test]
    fn row_keys_split_into_what_they_were_made_of() {
        let mut row = Vec::new();
        row_key(KeyGroup(300), &"abc", &mut row).unwrap();
        row.extend_from_slice(b"suffix");
        let (group, key, suffix) = split_row_key(&row).unwrap();
        assert_eq!((group, decode::<String>(key).unwrap().as_str(), suffix), (KeyGroup(300), "abc", &b"suffix"[..]));
        assert!(split_row_key(&row[..4]).is_err());
    }

    #[test]
    fn a_row_beyond_what_rocksdb_keeps_is_refused_and_one_at_the_limit_is_not() {
        assert_eq!(row_too_long(10, MAX_ROW_BYTES - 10), None);
        let reason = row_too_long(11, MAX_ROW_BYTES - 10).unwrap();
        assert!(reason.contains("3221225473 bytes") && reason.contains("list"), "{reason}");
        assert!(row_too_long(usize::MAX, usize::MAX).is_some());
        assert!((MAX_ROW_BYTES as u64 + 1024) < u64::from(u32::MAX), "RocksDB adds some bytes, and counts in 32 bits");
    }

    type Nested = (u8, Option<String>, Vec<(u64, Vec<u8>)>, std::collections::BTreeMap<String, Vec<f64>>);

    #[test]
    fn a_length_that_nothing_can_have_is_an_error() {
        for length in [1 << 20, MAX_ROW_BYTES as u64 + 1, 1 << 40, u64::MAX] {
            let bytes = [&[253][..], &length.to_le_bytes(), b"some"].concat();
            assert!(decode::<String>(&bytes).is_err() && decode::<Vec<u8>>(&bytes).is_err(), "{length}");
            assert!(decode::<Vec<u64>>(&bytes).is_err() && decode::<Vec<String>>(&bytes).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_ends(bytes in prop::collection::vec(any::<u8>(), 0..60), whole in any::<bool>()) {
            let bytes = if whole { [&[1, 1, 253][..], &bytes].concat() } else { bytes };
            let _ = decode::<Nested>(&bytes);
            let _ = decode::<String>(&bytes);
            let _ = split_row_key(&bytes);
            prop_assert!(entry_of_row(&bytes).len() <= bytes.len());
        }
    }
}
