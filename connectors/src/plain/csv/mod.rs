//! Plain CSV: one line, whose fields are bare or in quotes that hold no quote, no line end and no tab.
//!
//! The fields are parsed where they stand: nothing is copied, and no list of fields is made. Each gets the call of the
//! type's visitor that the `csv` crate makes. Nested types, bytes and numbers in other forms (`0x1f`, `+1`, `inf`) are
//! refused.

mod access;
mod field;
mod row;

use csv::ByteRecord;
use serde::de::DeserializeOwned;

use super::refused::Refused;
use access::Record;
use row::Row;

/// How the columns of a file become the fields of a type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// The type takes fields from all columns, in their order.
    All,
    /// The type takes fields in the order of the columns, each after so many others that it has not.
    InOrder(Vec<usize>),
    /// The type takes fields from these columns.
    Anywhere(Vec<usize>),
    /// Fields have the names of their columns.
    ByName,
}

impl Columns {
    /// Returns how a type takes its fields from these columns of the file.
    pub(crate) fn of(columns: &[usize]) -> Self {
        let mut next = 0;
        let skipped = columns.iter().map(|column| {
            let skipped = column.checked_sub(next)?;
            next = column + 1;
            Some(skipped)
        });
        skipped.collect::<Option<_>>().map_or_else(|| Self::Anywhere(columns.to_vec()), Self::InOrder)
    }
}

/// What is known of each line.
pub(crate) struct Layout<'a> {
    pub(crate) columns: &'a Columns,
    /// The names of all columns, for [`Columns::ByName`].
    pub(crate) names: &'a ByteRecord,
    /// Number of columns of the file.
    pub(crate) width: usize,
    /// Whether fields may be in quotes.
    pub(crate) has_quotes: bool,
}

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
