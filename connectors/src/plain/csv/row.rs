//! The place in a line of CSV, and the fields there.

use crate::plain::number::Number;
use crate::plain::refused::Refused;
use crate::plain::scan::{below, equal, first};

/// All bytes below this one are refused in fields. A line end is among them.
const PLAIN: u8 = b'\r' + 1;

pub(super) struct Row<'de> {
    text: &'de str,
    at: usize,
    /// Number of columns whose fields were begun.
    column: usize,
    width: usize,
    has_quotes: bool,
    /// Whether no part of the field was read so far. Some types have a value without reading, and then the `csv` crate
    /// has the same field for the next.
    is_unread: bool,
    /// The offset after the line, where it is known before the fields are parsed.
    end: Option<usize>,
    /// Whether anything was refused: a type may hide an error and return a value.
    was_refused: bool,
}

impl<'de> Row<'de> {
    pub(super) fn new(text: &'de str, at: usize, width: usize, has_quotes: bool) -> Self {
        Self { text, at, column: 0, width, has_quotes, is_unread: false, end: None, was_refused: false }
    }

    /// Notes whether a field was refused.
    #[inline]
    pub(super) fn noted<T>(&mut self, result: Result<T, Refused>) -> Result<T, Refused> {
        if result.is_err() {
            self.was_refused = true;
        }
        result
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.column == self.width
    }

    /// Returns the next byte, or 0 at the end; a 0 in the text ends no field.
    #[inline]
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Skips blanks and returns the byte after them.
    #[inline]
    fn token(&mut self) -> u8 {
        loop {
            match self.byte() {
                b' ' | b'\t' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Goes to the field of the next column.
    #[inline]
    pub(super) fn begin_field(&mut self) -> Result<(), Refused> {
        if self.column > 0 {
            if self.column >= self.width || self.byte() != b',' || self.is_unread {
                return Err(Refused);
            }
            self.at += 1;
        }
        self.column += 1;
        self.is_unread = true;
        Ok(())
    }

    #[inline]
    pub(super) fn skip_field(&mut self) -> Result<(), Refused> {
        self.begin_field()?;
        self.field().map(drop)
    }

    /// Goes to a field.
    #[inline]
    pub(super) fn go_to(&mut self, start: usize) -> Result<(), Refused> {
        if self.is_unread {
            return Err(Refused);
        }
        (self.at, self.is_unread) = (start, true);
        Ok(())
    }

    /// Checks that a field ends here.
    #[inline]
    pub(super) fn end_field(&mut self) -> Result<(), Refused> {
        match self.byte() {
            b',' | b'\n' | b'\r' => Ok(()),
            0 if self.at == self.text.len() => Ok(()),
            _ => Err(Refused),
        }
    }

    /// Finds where the fields begin and where the line ends.
    pub(super) fn find_starts(&mut self, starts: &mut Vec<usize>) -> Result<(), Refused> {
        starts.clear();
        while !self.is_at_end() {
            self.begin_field()?;
            starts.push(self.at);
            self.field()?;
        }
        self.end = Some(self.line_end()?);
        Ok(())
    }

    /// Returns the offset after the line end, which must come after the fields of all columns.
    #[inline]
    pub(super) fn line_end(&mut self) -> Result<usize, Refused> {
        if self.was_refused || self.is_unread {
            return Err(Refused);
        }
        if let Some(end) = self.end {
            return Ok(end);
        }
        while !self.is_at_end() {
            self.skip_field()?;
        }
        match self.byte() {
            b'\n' => Ok(self.at + 1),
            b'\r' => Ok(self.at + 1 + usize::from(self.text.as_bytes().get(self.at + 1) == Some(&b'\n'))),
            0 if self.at == self.text.len() => Ok(self.at),
            _ => Err(Refused),
        }
    }

    /// Returns the text of the field, without its quotes or the blanks around it.
    #[inline]
    pub(super) fn field(&mut self) -> Result<&'de str, Refused> {
        let bytes = self.text.as_bytes();
        self.is_unread = false;
        if self.byte() == b'"' {
            return self.quoted();
        }
        let begin = self.at;
        self.at = first(bytes, begin, |word| equal(word, b',') | equal(word, b'"') | below(word, PLAIN));
        self.end_field()?;
        self.text.get(begin..self.at).map(str::trim_ascii).ok_or(Refused)
    }

    fn quoted(&mut self) -> Result<&'de str, Refused> {
        let begin = self.at + 1;
        let end = first(self.text.as_bytes(), begin, |word| equal(word, b'"') | below(word, PLAIN));
        self.at = end;
        if !self.has_quotes || self.byte() != b'"' {
            return Err(Refused);
        }
        self.at += 1;
        self.end_field()?;
        self.text.get(begin..end).ok_or(Refused)
    }

    /// Returns the number that the field is.
    #[inline(always)] // As `Number::at`.
    pub(super) fn number(&mut self) -> Result<Number<'de>, Refused> {
        match Number::at(self.text, self.at) {
            Some(number) if matches!(number.next(), b',' | b'\n') => {
                (self.at, self.is_unread) = (number.end(), false);
                Ok(number)
            }
            _ => self.wrapped_number(),
        }
    }

    /// Returns the number that the field is, in quotes, between blanks, or at the end of the text.
    #[cold]
    fn wrapped_number(&mut self) -> Result<Number<'de>, Refused> {
        let field = self.field()?;
        let number = Number::at(field, 0).ok_or(Refused)?;
        if number.end() == field.len() { Ok(number) } else { Err(Refused) }
    }

    /// Skips the field if it is empty, and returns whether it was. A form feed, which is white space, too, is refused later.
    #[inline]
    pub(super) fn skip_if_empty(&mut self) -> Result<bool, Refused> {
        let begin = self.at;
        let is_empty = match self.token() {
            b'"' if self.at == begin => self.text.as_bytes().get(begin + 1) == Some(&b'"') && self.quoted()?.is_empty(),
            b',' | b'\n' | b'\r' => true,
            0 if self.at == self.text.len() => true,
            _ => false,
        };
        self.is_unread = !is_empty;
        if !is_empty {
            self.at = begin;
        }
        Ok(is_empty)
    }
}
