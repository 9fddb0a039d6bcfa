//! Decimal numbers: `-?` digits, perhaps a point and digits, perhaps an exponent.

use super::scan::eight;

/// A number as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    text: &'a str,
    begin: usize,
    end: usize,
    next: u8,
    is_negative: bool,
    /// All digits before the exponent, without the point. Wrong if there are more than [`MAX_DIGITS`].
    digits: u64,
    /// Number of digits before the exponent.
    count: usize,
    /// Number of digits after the point.
    scale: usize,
    has_exponent: bool,
}

/// So many digits always fit in a `u64`.
const MAX_DIGITS: usize = 19;

const TENS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The powers of ten that a float represents exactly.
const TENS_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
const TENS_F32: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];

impl<'a> Number<'a> {
    /// Returns the number at an offset. `None` if there is none, or none with digits on both sides of its point.
    #[inline(always)] // Otherwise the number is written to memory and read back.
    pub(super) fn at(text: &'a str, begin: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut word = eight(bytes, begin);
        let is_negative = word as u8 == b'-';
        let mut end = begin;
        if is_negative {
            end += 1;
            word = eight(bytes, end);
        }
        let mut run = Run::default();
        run.extend(bytes, &mut end, word);
        if run.count == 0 {
            return None;
        }
        let mut scale = 0;
        if run.next == b'.' {
            let whole = run.count;
            end += 1;
            word = eight(bytes, end);
            run.extend(bytes, &mut end, word);
            scale = run.count - whole;
            if scale == 0 {
                return None;
            }
        }
        let Run { digits, count, mut next } = run;
        let has_exponent = next | 0x20 == b'e';
        if has_exponent {
            end = exponent(bytes, end + 1)?;
            next = bytes.get(end).copied().unwrap_or(0);
        }
        Some(Self { text, begin, end, next, is_negative, digits, count, scale, has_exponent })
    }

    /// Returns the byte after the number, or 0 at the end of the text.
    #[inline]
    pub(super) fn next(&self) -> u8 {
        self.next
    }

    /// Returns the offset after the number.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Returns whether the number has zeros before its first digit, as JSON forbids.
    #[inline]
    pub(super) fn has_leading_zero(&self) -> bool {
        let whole = self.count - self.scale;
        whole > 1 && self.text.as_bytes().get(self.begin + usize::from(self.is_negative)) == Some(&b'0')
    }

    /// Returns whether the number has neither a point nor an exponent.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.scale == 0 && !self.has_exponent
    }

    #[inline]
    pub(super) fn is_negative(&self) -> bool {
        self.is_negative
    }

    /// Returns the number without its sign, if it is whole and not too long.
    #[inline]
    pub(super) fn whole(&self) -> Option<u64> {
        (self.is_whole() && self.count <= MAX_DIGITS).then_some(self.digits)
    }

    /// Returns the number as an integer, if it is one and fits.
    #[inline]
    pub(super) fn integer(&self) -> Option<i64> {
        let whole = self.whole()?;
        if self.is_negative { 0_i64.checked_sub_unsigned(whole) } else { i64::try_from(whole).ok() }
    }

    /// Returns the float that is nearest to the number.
    #[inline]
    pub(super) fn f64(&self) -> Option<f64> {
        // Both are exact, so that the quotient is rounded once (Clinger 1990, "How to read floating point numbers
        // accurately").
        if self.is_short() && self.digits <= 1 << f64::MANTISSA_DIGITS && self.scale < TENS_F64.len() {
            // As a signed integer, because that is one instruction on x86-64.
            let float = self.digits as i64 as f64 / TENS_F64[self.scale];
            return Some(if self.is_negative { -float } else { float });
        }
        self.text.get(self.begin..self.end)?.parse().ok()
    }

    /// Returns the float of 32 bits that is nearest to the number.
    #[inline]
    pub(super) fn f32(&self) -> Option<f32> {
        if self.is_short() && self.digits <= 1 << f32::MANTISSA_DIGITS && self.scale < TENS_F32.len() {
            let float = self.digits as i64 as f32 / TENS_F32[self.scale];
            return Some(if self.is_negative { -float } else { float });
        }
        self.text.get(self.begin..self.end)?.parse().ok()
    }

    fn is_short(&self) -> bool {
        self.count <= MAX_DIGITS && !self.has_exponent
    }
}

/// Digits, one after the other.
#[derive(Default)]
struct Run {
    digits: u64,
    count: usize,
    /// The byte after them, or 0.
    next: u8,
}

impl Run {
    /// Appends the digits at an offset, where the next eight bytes are `word`, and moves the offset behind them.
    #[inline(always)] // As `Number::at`.
    fn extend(&mut self, bytes: &[u8], at: &mut usize, mut word: u64) {
        loop {
            let digits = word ^ 0x3030_3030_3030_3030;
            // The highest bit of a byte is set if the byte is no digit. A carry reaches only bytes after such a byte.
            let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
            if others == 0 {
                self.digits = self.digits.wrapping_mul(100_000_000).wrapping_add(together(digits));
                self.count += 8;
                *at += 8;
                word = eight(bytes, *at);
                continue;
            }
            let bits = others.trailing_zeros() & 0x38;
            let count = (bits / 8) as usize;
            self.next = (word >> bits) as u8;
            // Zeros in front of the digits make them eight. Without any, the shift is 64 in two steps.
            self.digits = self.digits.wrapping_mul(TENS[count & 7]).wrapping_add(together(digits << (56 - bits) << 8));
            self.count += count;
            *at += count;
            return;
        }
    }
}

/// Returns the number that eight digits are, each a byte, the first of them lowest.
#[inline]
fn together(digits: u64) -> u64 {
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let odd = (pairs & MASK).wrapping_mul(100 + (1_000_000 << 32));
    let even = ((pairs >> 16) & MASK).wrapping_mul(1 + (10_000 << 32));
    odd.wrapping_add(even) >> 32
}

/// Returns the offset after an exponent.
#[cold]
fn exponent(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let count = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(at + count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        for before in ["", "1,2.5,"] {
            let line = format!("{before}{text},");
            let number = Number::at(&line, before.len()).unwrap();
            assert_eq!(&line[before.len()..number.end()], text);
            assert_eq!(number.f64().map(f64::to_bits), text.parse().ok().map(f64::to_bits), "{text}");
            assert_eq!(number.f32().map(f32::to_bits), text.parse().ok().map(f32::to_bits), "{text}");
            let short = text.bytes().filter(u8::is_ascii_digit).count() <= 19;
            assert_eq!(number.integer(), text.parse().ok().filter(|_| short), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Numbers are those that the standard library reads, to the last bit.
        #[test]
        fn numbers_are_those_of_the_standard_library(
            text in "-?(0{0,3}[0-9]{1,20}|[0-9]{1,6})(\\.([0-9]{1,25}|[0-9]{1,6}))?([eE][+-]?[0-9]{1,3})?",
        ) {
            check(&text);
        }

        #[test]
        fn floats_are_read_as_they_were_written(bits: u64) {
            for text in [format!("{}", f64::from_bits(bits)), format!("{:e}", f64::from_bits(bits))] {
                if !text.contains(['N', 'i']) {
                    check(&text);
                }
            }
            let single = f32::from_bits(bits as u32);
            if single.is_finite() {
                check(&format!("{single}"));
            }
        }
    }

    #[test]
    fn limits_are_exact() {
        for text in [
            "-0",
            "0",
            "-0.0",
            "9007199254740992",
            "9007199254740993",
            "-9007199254740993.5",
            "16777216.0",
            "16777217.0",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "9999999999999999999",
            "18446744073709551616",
            "0.00000000000000000000001",
            "1e400",
            "1e-400",
            "123456789012345678901234567890.1",
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", "-", ".5", "5.", "+1", "1.e5", "1e", "1e+", "--1", "NaN", "inf", "e5", " 1"] {
            assert!(Number::at(text, 0).is_none(), "{text}");
        }
        assert!(Number::at("1", 5).is_none());
    }
}
