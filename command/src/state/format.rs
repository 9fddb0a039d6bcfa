//! The formats in which rows are printed.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;
mod row_writer;

use std::io::{self, BufWriter, Stdout, Write};

use serde_json::Value;
use tidemill_state::{ErrorKind, StateEntry, columns};

use self::row_writer::RowWriter;
use crate::args::Format;
use crate::failure::Failure;

/// Begins to write the rows of a state to stdout.
pub fn writer(format: Format, of: &StateEntry) -> Result<Box<dyn RowWriter>, Failure> {
    let out = BufWriter::new(io::stdout());
    match format {
        Format::Jsonl => Ok(Box::new(JsonLines(out))),
        Format::Csv => csv::Csv::begin(out, columns(of)).map(boxed).map_err(unwritable),
        #[cfg(feature = "parquet")]
        Format::Parquet if io::IsTerminal::is_terminal(&io::stdout()) => {
            let text = "Parquet is not for a terminal: write it to a file, with > FILE, or add --format jsonl";
            Err(Failure::new(ErrorKind::Invalid, text))
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::Parquet::begin(out, columns(of)).map(boxed).map_err(unwritable),
    }
}

fn boxed<W: RowWriter + 'static>(writer: W) -> Box<dyn RowWriter> {
    Box::new(writer)
}

pub fn unwritable(error: io::Error) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("cannot write the rows: {error}"))
}

struct JsonLines(BufWriter<Stdout>);

impl RowWriter for JsonLines {
    fn row(&mut self, row: &Value) -> io::Result<()> {
        writeln!(self.0, "{row}")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
