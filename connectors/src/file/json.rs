//! JSON lines: the decoding of lines into records.

use std::ops::Range;
use std::str;

use serde::de::DeserializeOwned;

use super::piece::Piece;
use super::quotes::first_line;
use crate::json::Json;

/// A parser of lines of JSON.
#[derive(Default)]
pub(crate) struct JsonParser {
    json: Json,
    scratch: String,
}

impl JsonParser {
    /// Returns a parser that leaves everything to `serde_json`.
    #[cfg(test)]
    pub(crate) fn never_plain() -> Self {
        let parser = Self::default();
        parser.json.stop();
        parser
    }

    /// Passes each record to `found`, or the range of a line that is not a record, with the reason.
    pub(crate) fn parse<T: DeserializeOwned>(
        &mut self,
        piece: &Piece<'_>,
        mut found: impl FnMut(Range<usize>, Result<T, String>),
    ) {
        let Self { json, scratch } = self;
        let Range { start, end } = piece.own;
        let own = &piece.bytes[start..end];
        let text = str::from_utf8(own).ok();
        let mut at = 0;
        while at < own.len() {
            if let Some((value, next)) = text.and_then(|text| json.line(text, at, scratch)) {
                found(start + at..start + next, Ok(value));
                at = next;
                continue;
            }
            let line = first_line(&own[at..]);
            if !line.trim_ascii().is_empty() {
                // If another line is not UTF-8, this one was not tried yet.
                let value = if text.is_some() { serde_json::from_slice(line) } else { json.value(line) };
                found(start + at..start + at + line.len(), value.map_err(|e| e.to_string()));
            }
            at += line.len();
        }
    }
}
