//! Looks at eight bytes of text at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Returns the eight bytes at an offset, the first of them lowest; zeros after the end.
#[inline]
pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last(bytes.get(at..).unwrap_or_default()),
    }
}

#[cold]
fn last(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Marks bytes that are zero. Marks after the first one may be wrong.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Marks bytes that are `byte`. Marks after the first one may be wrong.
#[inline]
pub(super) fn equal(word: u64, byte: u8) -> u64 {
    zeros(word ^ ONES.wrapping_mul(u64::from(byte)))
}

/// Marks bytes below `limit`, which is at most 128. Marks after the first one may be wrong.
#[inline]
pub(super) fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES.wrapping_mul(u64::from(limit))) & !word & HIGH
}

/// Returns the offset of the first byte, from `at` on, that `marks` marks. It must mark zeros: they stand for the end.
#[inline]
pub(super) fn first(bytes: &[u8], mut at: usize, marks: impl Fn(u64) -> u64) -> usize {
    loop {
        let found = marks(eight(bytes, at));
        if found != 0 {
            return (at + (found.trailing_zeros() / 8) as usize).min(bytes.len());
        }
        at += 8;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_marked_byte_is_found(bytes in prop::collection::vec(any::<u8>(), 0..40), from in 0..40_usize) {
            let from = from.min(bytes.len());
            let naive = |is: &dyn Fn(u8) -> bool| (from..bytes.len()).find(|at| is(bytes[*at])).unwrap_or(bytes.len());
            let marks = |word: u64| equal(word, b'"') | equal(word, 0xe4) | below(word, 32);
            prop_assert_eq!(first(&bytes, from, marks), naive(&|byte| byte == b'"' || byte == 0xe4 || byte < 32));
        }
    }
}
