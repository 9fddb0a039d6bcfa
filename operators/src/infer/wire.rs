//! The wire format of Protocol Buffers, as far as messages of model servers and files of models need it.
//!
//! It is written by hand: prost's derive macro (and with it tonic-prost) makes cargo compile bindgen, and therefore
//! RocksDB, once more in every build folder, for the sake of a dozen fields. Field numbers are given where messages are
//! written and read.

use bytes::{Buf, BufMut};

/// A message that is being written.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Message {
    pub(super) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        varint(&mut self.0, field << 3 | BYTES);
        varint(&mut self.0, bytes.len() as u64);
        self.0.put_slice(bytes);
        self
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// Appends an entry of a map with text keys.
    pub(super) fn entry(self, field: u64, key: &str, value: Self) -> Self {
        self.message(field, Self::default().text(1, key).message(2, value))
    }

    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        varint(&mut self.0, field << 3 | VARINT);
        varint(&mut self.0, value.cast_unsigned());
        self
    }

    /// Appends a field of repeated integers, packed.
    pub(super) fn ints(self, field: u64, values: impl IntoIterator<Item = i64>) -> Self {
        let mut packed = Vec::new();
        values.into_iter().for_each(|value| varint(&mut packed, value.cast_unsigned()));
        self.bytes(field, &packed)
    }

    pub(super) fn finish(self) -> bytes::Bytes {
        self.0.into()
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Int(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The error for bytes that are not a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of Protocol Buffers: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

fn read_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().map_err(|_| Malformed("it ends in a number"))?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed("a number of more than 64 bits"))
}

/// The fields of a message, in the order in which they are stored.
pub(super) struct Fields<'a>(&'a [u8]);

pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = read_varint(&mut self.0)?;
        let short = |_| Malformed("it ends in a field");
        let value = match tag & 7 {
            VARINT => Value::Int(read_varint(&mut self.0)?),
            FIXED64 => Value::Fixed64(self.0.try_get_u64_le().map_err(short)?),
            FIXED32 => Value::Fixed32(self.0.try_get_u32_le().map_err(short)?),
            BYTES => {
                let len = usize::try_from(read_varint(&mut self.0)?).unwrap_or(usize::MAX);
                let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed("it ends in a field"))?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return Err(Malformed("a field of an unknown type")),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Value<'a> {
    pub(super) fn message(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a number where a message belongs")),
        }
    }

    pub(super) fn text(self) -> Result<String, Malformed> {
        String::from_utf8(self.message()?.to_vec()).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    pub(super) fn int(self) -> Result<i64, Malformed> {
        match self {
            Value::Int(value) => Ok(value.cast_signed()),
            _ => Err(Malformed("something else where a number belongs")),
        }
    }

    /// Appends integers, which come packed or one by one.
    pub(super) fn ints(self, to: &mut Vec<i64>) -> Result<(), Malformed> {
        match self {
            Value::Int(value) => to.push(value.cast_signed()),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    to.push(read_varint(&mut packed)?.cast_signed());
                }
            }
            _ => return Err(Malformed("something else where numbers belong")),
        }
        Ok(())
    }

    /// Appends the little-endian bytes of floats, which come packed or one by one.
    pub(super) fn floats(self, to: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Value::Fixed32(value) => to.put_u32_le(value),
            Value::Fixed64(value) => to.put_u64_le(value),
            Value::Bytes(packed) => to.put_slice(packed),
            Value::Int(_) => return Err(Malformed("integers where floats belong")),
        }
        Ok(())
    }

    /// Returns the key and the value of an entry of a map with text keys.
    pub(super) fn entry(self) -> Result<(String, &'a [u8]), Malformed> {
        let (mut key, mut value): (String, &[u8]) = Default::default();
        for field in fields(self.message()?) {
            match field? {
                (1, found) => key = found.text()?,
                (2, found) => value = found.message()?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    /// Returns the key and the value of an entry of a map from text to text.
    #[cfg(feature = "onnx")]
    pub(super) fn text_entry(self) -> Result<(String, String), Malformed> {
        let (key, value) = self.entry()?;
        Ok((key, Value::Bytes(value).text()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_the_format_that_is_documented() {
        // From the encoding guide of Protocol Buffers: `a = 150`, `b = "testing"`, `f = [3, 270, 86942]`.
        let message = Message::default().int(1, 150).text(2, "testing").ints(6, [3, 270, 86942]).finish();
        let guide = "08960112077465737469 6e67 3206038e029ea705".replace(' ', "");
        assert_eq!(message.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), guide);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in any::<i64>(), text in ".*", ints in any::<Vec<i64>>()) {
            let inner = Message::default().int(7, number);
            let bytes = Message::default().entry(3, &text, inner).ints(20, ints.iter().copied()).finish();
            let found: Vec<_> = fields(&bytes).collect::<Result<_, _>>().unwrap();
            let (key, value) = found[0].1.entry().unwrap();
            prop_assert_eq!((found[0].0, key), (3, text));
            prop_assert_eq!(fields(value).next(), Some(Ok((7, Value::Int(number.cast_unsigned())))));
            let mut read = Vec::new();
            found[1].1.ints(&mut read).unwrap();
            prop_assert_eq!(read, ints);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            for (_, value) in fields(&bytes).flatten() {
                drop((value.entry(), value.text(), value.ints(&mut Vec::new()), value.floats(&mut Vec::new())));
            }
        }
    }
}
