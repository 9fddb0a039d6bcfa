//! The parsers of plain text by themselves: what a benchmark measures. Programs parse by sources and decoders.

use ::csv::ByteRecord;
use serde::de::DeserializeOwned;

use crate::plain::csv::{Columns, Layout};
use crate::plain::{csv, json};

/// The parser of lines of JSON.
#[derive(Default)]
pub struct PlainJson {
    scratch: String,
}

impl PlainJson {
    /// Returns the value in the line that begins at an offset, and the offset after its line end; or `None` if the line
    /// is left to `serde_json`.
    #[inline]
    pub fn line<T: DeserializeOwned>(&mut self, text: &str, at: usize) -> Option<(T, usize)> {
        json::line(text, at, &mut self.scratch).ok()
    }
}

/// The parser of lines of CSV whose columns are the fields of a type, in their order.
pub struct PlainCsv {
    names: ByteRecord,
    starts: Vec<usize>,
    width: usize,
}

impl PlainCsv {
    /// Makes a parser of lines with this many columns.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { names: ByteRecord::new(), starts: Vec::new(), width }
    }

    /// Returns the value in the line that begins at an offset, and the offset after its line end; or `None` if the line
    /// is left to the `csv` crate.
    #[inline]
    pub fn line<T: DeserializeOwned>(&mut self, text: &str, at: usize) -> Option<(T, usize)> {
        let Self { names, starts, width } = self;
        let layout = Layout { columns: &Columns::All, names, width: *width, has_quotes: true };
        csv::line(&layout, text, at, starts).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_one_after_the_other() {
        let mut json = PlainJson::default();
        let text = "[1,2]\n[3,4]\n";
        let (first, next) = json.line::<(u8, u8)>(text, 0).unwrap();
        assert_eq!((first, json.line(text, next)), ((1, 2), Some(((3, 4), text.len()))));
        let mut csv = PlainCsv::new(2);
        let text = "1,2\n3,4\n";
        let (first, next) = csv.line::<(u8, u8)>(text, 0).unwrap();
        assert_eq!((first, csv.line(text, next)), ((1, 2), Some(((3, 4), text.len()))));
        assert_eq!(csv.line::<(u8, u8)>("1,x\n", 0), None);
    }
}
