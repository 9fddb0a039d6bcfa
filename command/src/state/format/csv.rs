//! Rows as CSV: a head with the names of the columns, and an empty cell where a row has no value.

use std::io::{self, BufWriter, Stdout};

use serde_json::Value;
use tidemill_state::{Column, ColumnType};

use super::row_writer::RowWriter;

pub struct Csv {
    out: ::csv::Writer<BufWriter<Stdout>>,
    columns: Vec<Column>,
}

impl Csv {
    pub fn begin(out: BufWriter<Stdout>, columns: Vec<Column>) -> io::Result<Self> {
        let mut out = ::csv::Writer::from_writer(out);
        out.write_record(columns.iter().map(|column| &column.name)).map_err(io_error)?;
        Ok(Self { out, columns })
    }
}

impl RowWriter for Csv {
    fn row(&mut self, row: &Value) -> io::Result<()> {
        let cells = self.columns.iter().map(|column| cell(column, row));
        self.out.write_record(cells).map_err(io_error)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn cell(column: &Column, row: &Value) -> String {
    match (column.cell(row), column.of) {
        (None, _) => String::new(),
        (Some(Value::String(text)), of) if of != ColumnType::Json => text.clone(),
        (Some(value), _) => value.to_string(),
    }
}

fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
