//! What is known of a file before its lines are read.

use csv::ByteRecord;

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
