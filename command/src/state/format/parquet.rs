//! Rows as Parquet. Any column may have nulls.

use std::io::{self, BufWriter, Stdout};
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use tidemill_state::{Column, ColumnType};

use super::row_writer::RowWriter;

/// Number of rows that are written at a time.
const BATCH: usize = 8192;

pub struct Parquet {
    out: Option<ArrowWriter<BufWriter<Stdout>>>,
    schema: Arc<Schema>,
    columns: Vec<(Column, Cells)>,
    rows: usize,
}

impl Parquet {
    pub fn begin(out: BufWriter<Stdout>, columns: Vec<Column>) -> io::Result<Self> {
        let columns: Vec<(Column, Cells)> =
            columns.into_iter().map(|column| (column.clone(), Cells::of(column.of))).collect();
        let fields = columns.iter().map(|(column, cells)| Field::new(&column.name, cells.data_type(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let out = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        Ok(Self { out: Some(out), schema, columns, rows: 0 })
    }

    fn write(&mut self) -> io::Result<()> {
        self.rows = 0;
        let columns = self.columns.iter_mut().map(|(_, cells)| cells.take()).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)?;
        Ok(self.out.as_mut().map_or(Ok(()), |out| out.write(&batch))?)
    }
}

impl RowWriter for Parquet {
    fn row(&mut self, row: &Value) -> io::Result<()> {
        self.columns.iter_mut().for_each(|(column, cells)| cells.add(column.cell(row)));
        self.rows += 1;
        if self.rows < BATCH { Ok(()) } else { self.write() }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.write()?;
        }
        self.out.take().map_or(Ok(()), |out| out.close().map(drop).map_err(io::Error::from))
    }
}

/// The cells of a column that are not written yet.
enum Cells {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Json(StringBuilder),
}

impl Cells {
    fn of(column: ColumnType) -> Self {
        match column {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Unsigned => Self::Unsigned(UInt64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Json => Self::Json(StringBuilder::new()),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Int64,
            Self::Unsigned(_) => DataType::UInt64,
            Self::Float(_) => DataType::Float64,
            Self::Text(_) | Self::Json(_) => DataType::Utf8,
        }
    }

    fn add(&mut self, cell: Option<&Value>) {
        match self {
            Self::Boolean(cells) => cells.append_option(cell.and_then(Value::as_bool)),
            Self::Integer(cells) => cells.append_option(cell.and_then(Value::as_i64)),
            Self::Unsigned(cells) => cells.append_option(cell.and_then(Value::as_u64)),
            // What JSON has no number for, as NaN, is a text there.
            Self::Float(cells) => {
                let number = |cell: &Value| cell.as_f64().or_else(|| cell.as_str()?.parse().ok());
                cells.append_option(cell.and_then(number));
            }
            Self::Text(cells) => cells.append_option(cell.and_then(Value::as_str)),
            Self::Json(cells) => cells.append_option(cell.map(Value::to_string)),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(cells) => Arc::new(cells.finish()),
            Self::Integer(cells) => Arc::new(cells.finish()),
            Self::Unsigned(cells) => Arc::new(cells.finish()),
            Self::Float(cells) => Arc::new(cells.finish()),
            Self::Text(cells) | Self::Json(cells) => Arc::new(cells.finish()),
        }
    }
}
