//! Pieces of sources: lines of text become records.

use std::hint::black_box;

use tidemill_connectors::testing::{PlainCsv, PlainJson};

use crate::records::{Reading, csv_of, json_of, readings};
use crate::{Failure, RECORDS, Round};

/// Returns rounds that parse a text line by line.
fn rounds(text: String, mut parse: impl FnMut(&str, usize) -> Option<usize> + 'static) -> Round {
    Box::new(move || {
        // As a file source does: it looks at the encoding of a chunk at a time.
        let text = str::from_utf8(black_box(text.as_bytes()))?;
        let mut at = 0;
        while at < text.len() {
            at = parse(text, at).ok_or("a line is not plain")?;
        }
        Ok(())
    })
}

/// Parses lines of JSON.
pub fn json() -> Result<Round, Failure> {
    let mut parser = PlainJson::default();
    Ok(rounds(json_of(&readings(RECORDS))?, move |text, at| {
        let (record, next) = parser.line::<Reading>(text, at)?;
        black_box(record);
        Some(next)
    }))
}

/// Parses lines of CSV.
pub fn csv() -> Result<Round, Failure> {
    let (text, width) = csv_of(&readings(RECORDS))?;
    let mut parser = PlainCsv::new(width);
    Ok(rounds(text, move |text, at| {
        let (record, next) = parser.line::<Reading>(text, at)?;
        black_box(record);
        Some(next)
    }))
}
