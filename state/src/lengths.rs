//! The encoding of lengths and numbers in deltas: seven bits per byte, the lowest first, so that any length can be
//! written.

/// A number in encoded form.
pub(crate) struct Encoded {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl Encoded {
    /// Maximum number of bytes, which a number of 64 bits takes.
    const MOST: usize = 10;

    pub(crate) fn of(mut number: u64) -> Self {
        let (mut bytes, mut len) = ([0; Self::MOST], 1);
        for byte in &mut bytes {
            *byte = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                break;
            }
            *byte |= 0x80;
            len += 1;
        }
        Self { bytes, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// Appends a number.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(number as u8);
    } else {
        out.extend_from_slice(Encoded::of(number).as_slice());
    }
}

/// Appends bytes, after their length.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the bytes that `write` writes, after their length. Returns the length. If `write` fails, nothing is
/// appended.
#[inline]
pub(crate) fn push_with<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<usize, E> {
    let at = out.len();
    // One byte is reserved for the length: most values are short, and then nothing is moved.
    out.push(0);
    if let Err(error) = write(out) {
        out.truncate(at);
        return Err(error);
    }
    let len = out.len() - at - 1;
    if len < 0x80 {
        out[at] = len as u8;
        return Ok(len);
    }
    // A longer length needs more room, so the content is moved back.
    let encoded = Encoded::of(len as u64);
    let content = at + encoded.len;
    out.resize(content + len, 0);
    out.copy_within(at + 1..at + 1 + len, content);
    out[at..content].copy_from_slice(encoded.as_slice());
    Ok(len)
}

/// A reader that takes numbers and bytes off the front of encoded bytes. For any input it neither panics nor allocates
/// more memory than the input has.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// Takes a number. Returns `None` if it is cut off, has more than 64 bits, or has more bytes than it needs.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (mut number, mut rest) = (0, self.0);
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, after) = rest.split_first()?;
            rest = after;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (*byte == 0 && shift > 0) {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                self.0 = rest;
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates numbers around the powers of two, where bits might be lost.
    fn numbers() -> impl Strategy<Value = u64> {
        (0..=64_u32, -2..=2_i64)
            .prop_map(|(bits, off)| 1_u64.checked_shl(bits).unwrap_or(0).wrapping_add(off.cast_unsigned()))
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(number in numbers(), more in any::<u8>()) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            prop_assert!(out.len() <= 10);
            prop_assert_eq!(out.len() == 1, number < 128);
            out.push(more);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.0, &[more]);
            out.pop();
            out.pop();
            prop_assert_eq!(Reader(&out).number(), None, "it was cut");
        }

        #[test]
        fn a_length_is_in_front_however_long_the_content_is(len in prop_oneof![0..300_usize, 16_380..16_390_usize]) {
            let mut out = vec![7];
            let written = push_with(&mut out, |out| { out.resize(out.len() + len, 1); Ok::<_, ()>(()) });
            prop_assert_eq!(written, Ok(len));
            out.push(9);
            let mut reader = Reader(&out[1..]);
            prop_assert_eq!(reader.bytes(), Some(&vec![1; len][..]));
            prop_assert_eq!(reader.0, &[9]);
            prop_assert_eq!(push_with(&mut out, |out| { out.push(1); Err(()) }), Err(()));
            prop_assert_eq!(out.last(), Some(&9));
        }

        #[test]
        fn reading_any_bytes_takes_no_more_than_there_are(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            while let Some(read) = reader.bytes() {
                prop_assert!(read.len() < bytes.len());
            }
        }
    }
}
