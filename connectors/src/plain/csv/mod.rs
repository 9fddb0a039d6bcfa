//! Plain CSV: one line, whose fields are bare or in quotes that hold no quote, no line end and no tab.
//!
//! The fields are parsed where they stand: nothing is copied, and no list of fields is made. Each gets the call of the
//! type's visitor that the `csv` crate makes. Nested types, bytes and numbers in other forms (`0x1f`, `+1`, `inf`) are
//! refused.

mod access;
mod columns;
mod field;
mod row;

use serde::de::DeserializeOwned;

use super::refused::Refused;
use access::Record;
use row::Row;

pub(crate) use columns::{Columns, Layout};

/// Returns the record in the line that begins at an offset, and the offset after its line end. `starts` is scratch.
#[inline]
pub(crate) fn line<T: DeserializeOwned>(
    layout: &Layout<'_>,
    text: &str,
    at: usize,
    starts: &mut Vec<usize>,
) -> Result<(T, usize), Refused> {
    // An empty line is no record, even if the file has one column.
    if text.as_bytes().get(at).is_none_or(|byte| *byte <= b' ') {
        return Err(Refused);
    }
    let mut row = Row::new(text, at, layout.width, layout.has_quotes);
    if let Columns::Anywhere(_) = layout.columns {
        row.find_starts(starts)?;
    }
    let value = T::deserialize(Record { row: &mut row, layout, starts })?;
    Ok((value, row.line_end()?))
}
