//! The place in a text of JSON, and the tokens there.

use serde::de::Visitor;

use super::escapes::{plain_end, unescape};
use crate::plain::number::Number;
use crate::plain::refused::Refused;

/// Containers may be nested this deep, which is less than in `serde_json`.
const MAX_DEPTH: u8 = 64;

/// The name by which `serde_json` knows its `RawValue`, for which it returns the text as it is.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

pub(super) struct Reader<'de, 's> {
    text: &'de str,
    at: usize,
    /// Whether there may be line ends between tokens.
    has_lines: bool,
    depth: u8,
    /// Whether anything was refused. A type may hide an error and return a value; it may return another one after an
    /// error of `serde_json`, which leaves off elsewhere.
    was_refused: bool,
    /// The last string that had escapes.
    scratch: &'s mut String,
}

impl<'de, 's> Reader<'de, 's> {
    pub(super) fn new(text: &'de str, at: usize, has_lines: bool, scratch: &'s mut String) -> Self {
        Self { text, at, has_lines, depth: 0, was_refused: false, scratch }
    }

    /// Notes whether a value was refused.
    #[inline]
    pub(super) fn noted<T>(&mut self, result: Result<T, Refused>) -> Result<T, Refused> {
        if result.is_err() {
            self.was_refused = true;
        }
        result
    }

    /// Returns the next byte, or 0 at the end; a 0 in the text is no token, either.
    #[inline]
    pub(super) fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn skip_byte(&mut self) {
        self.at += 1;
    }

    /// Skips white space and returns the byte after it.
    #[inline]
    pub(super) fn token(&mut self) -> u8 {
        loop {
            let byte = self.byte();
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' if self.has_lines => self.at += 1,
                _ => return byte,
            }
        }
    }

    /// Skips white space and this byte.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Refused> {
        if self.token() != byte {
            return Err(Refused);
        }
        self.at += 1;
        Ok(())
    }

    /// Skips a word, whose first letter was seen.
    #[inline]
    pub(super) fn word(&mut self, word: &str) -> Result<(), Refused> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(Refused);
        }
        self.at += word.len();
        Ok(())
    }

    /// Returns the offset after the line end, which must be next.
    #[inline]
    pub(super) fn line_end(&mut self) -> Result<usize, Refused> {
        let next = self.token();
        if self.was_refused {
            return Err(Refused);
        }
        match next {
            b'\n' => Ok(self.at + 1),
            b'\r' => Ok(self.at + 1 + usize::from(self.text.as_bytes().get(self.at + 1) == Some(&b'\n'))),
            0 if self.at == self.text.len() => Ok(self.at),
            _ => Err(Refused),
        }
    }

    /// Checks that the text ends here.
    #[inline]
    pub(super) fn end(&mut self) -> Result<(), Refused> {
        self.token();
        if self.was_refused || self.at < self.text.len() { Err(Refused) } else { Ok(()) }
    }

    /// Returns the string whose first quote is next. `None` if it has escapes: then it is in [`Self::unescaped`].
    #[inline]
    pub(super) fn string(&mut self) -> Result<Option<&'de str>, Refused> {
        let begin = self.at + 1;
        let end = plain_end(self.text.as_bytes(), begin);
        match self.text.as_bytes().get(end) {
            Some(b'"') => {
                self.at = end + 1;
                self.text.get(begin..end).map(Some).ok_or(Refused)
            }
            Some(b'\\') => {
                self.at = unescape(self.text, begin, self.scratch).ok_or(Refused)?;
                Ok(None)
            }
            _ => Err(Refused),
        }
    }

    pub(super) fn unescaped(&self) -> &str {
        self.scratch
    }

    #[inline]
    pub(super) fn visit_string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        match self.string()? {
            Some(text) => visitor.visit_borrowed_str(text),
            None => visitor.visit_str(self.unescaped()),
        }
    }

    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<Number<'de>, Refused> {
        self.token();
        let number = Number::at(self.text, self.at).ok_or(Refused)?;
        if number.has_leading_zero() {
            return Err(Refused);
        }
        self.at = number.end();
        Ok(number)
    }

    /// Visits the number that is next, with its value as a float if it is not whole.
    #[inline]
    pub(super) fn visit_number<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        float: impl Fn(&Number<'de>) -> Option<f64>,
    ) -> Result<V::Value, Refused> {
        let number = self.number()?;
        if number.is_whole() {
            return match number.whole().ok_or(Refused)? {
                whole if !number.is_negative() => visitor.visit_u64(whole),
                0 => visitor.visit_f64(-0.0),
                _ => visitor.visit_i64(number.integer().ok_or(Refused)?),
            };
        }
        visitor.visit_f64(float(&number).filter(|float| float.is_finite()).ok_or(Refused)?)
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Refused> {
        if self.depth == MAX_DEPTH {
            return Err(Refused);
        }
        (self.at, self.depth) = (self.at + 1, self.depth + 1);
        Ok(())
    }

    #[inline]
    pub(super) fn leave(&mut self, end: u8) -> Result<(), Refused> {
        self.depth -= 1;
        self.expect(end)
    }
}
