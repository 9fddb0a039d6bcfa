//! Strings of JSON, with and without escapes.

use crate::plain::scan::{below, equal, first};

/// Returns the offset of the first byte that ends the plain part of a string: a quote, a backslash, a control
/// character, or the end of the text.
#[inline]
pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
    // With this bit changed, a quote is a blank, a blank is a quote, and control characters stay below both.
    first(bytes, at, |word| below(word ^ 0x0202_0202_0202_0202, b' ' + 1) | equal(word, b'\\'))
}

/// Writes a string, whose first character is at `at`, without its escapes. Returns the offset after its last quote.
#[cold]
pub(super) fn unescape(text: &str, mut at: usize, into: &mut String) -> Option<usize> {
    let bytes = text.as_bytes();
    into.clear();
    loop {
        let end = plain_end(bytes, at);
        into.push_str(text.get(at..end)?);
        if *bytes.get(end)? == b'"' {
            return Some(end + 1);
        }
        let (escaped, next) = escape(text, end)?;
        into.push(escaped);
        at = next;
    }
}

/// Returns the character that an escape stands for, and the offset after it.
fn escape(text: &str, at: usize) -> Option<(char, usize)> {
    let bytes = text.as_bytes();
    if *bytes.get(at)? != b'\\' {
        return None;
    }
    let escaped = match bytes.get(at + 1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text, at),
        _ => return None,
    };
    Some((escaped, at + 2))
}

fn unicode(text: &str, at: usize) -> Option<(char, usize)> {
    let high = unit(text, at)?;
    if !(0xd800..0xdc00).contains(&high) {
        // A low surrogate alone is no character.
        return Some((char::from_u32(high)?, at + 6));
    }
    let low = unit(text, at + 6)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let code = 0x1_0000 + ((high - 0xd800) << 10 | (low - 0xdc00));
    Some((char::from_u32(code)?, at + 12))
}

/// Returns the number in an escape of the form `\uXXXX`.
fn unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    // The standard library would accept a sign, too.
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
}
