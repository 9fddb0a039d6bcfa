//! The reader of a Parquet file, in pieces of rows.
//!
//! Every worker reads its own pieces and skips the others (Parquet's row selection), so that workers stay close to
//! each other in event time, whatever the size of row groups. Only the columns that the record's type names are
//! decoded; times are converted by their logical type ([`super::times`]). Known limit: a column must be of the same
//! kind as its field, for example floats for an `f64`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy,
    RowSelector,
};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use serde::de::DeserializeOwned;
use serde_arrow::Deserializer;
use tidemill_engine::ConnectorError;

use super::error::{invalid, unreadable};
use super::fields;
use super::handle::Handle;
use super::piece::{Malformed, Read};
use super::times::Times;
use crate::splits::Splits;

/// Number of rows of a piece: about as many as a source emits at a time.
const PIECE: u64 = 1024;
/// Number of rows that are read ahead as the first rows.
const FIRST: usize = 32;

/// One Parquet file, as one worker reads it.
pub(crate) struct RowFile {
    path: PathBuf,
    rows: u64,
    first: Option<<ParquetRecordBatchReader as Iterator>::Item>,
    reader: ParquetRecordBatchReader,
    times: Times,
}

impl RowFile {
    pub(crate) fn open<L: DeserializeOwned>(
        path: &Path,
        handle: Handle,
        splits: &Splits,
    ) -> Result<Self, ConnectorError> {
        let damaged = |e: ParquetError| unreadable(path, "it cannot be read as Parquet: is it cut off or damaged?", e);
        let builder = builder(path, &handle)?;
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let columns: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
        let wanted = |name: &str| fields::of::<L>().is_none_or(|fields| fields.contains(&name));
        let roots = columns.iter().enumerate().filter(|(_, name)| wanted(name)).map(|(index, _)| index);
        let read: Vec<usize> = roots.collect();
        let schema = builder.schema().project(&read).map_err(|e| damaged(e.into()))?;
        let times = Times::plan::<L>(schema.fields()).map_err(|reason| invalid(path, &reason))?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), read);

        // A column that is missing or of an unsuitable type is so in every row, so it is refused before the job
        // starts.
        let first = self::builder(path, &handle)?;
        let mut first = first.with_projection(mask.clone()).with_limit(FIRST).build().map_err(damaged)?;
        let first = first.next().map(|batch| batch.and_then(|batch| times.convert(batch)));
        let first = first.transpose().map_err(|e| damaged(e.into()))?;
        if let Some(batch) = &first {
            let rows = Deserializer::from_record_batch(batch).map_err(|e| invalid(path, &e.to_string()))?;
            let error = rows.get(0).and_then(|row| L::deserialize(row).err()).map(|e| e.to_string());
            let of_every_row = |reason: &String| reason.contains("missing field") || reason.contains("not implement");
            if let Some(reason) = error.filter(of_every_row) {
                let columns = columns.join(", ");
                return Err(invalid(path, &format!("its columns {columns} do not fit: {reason}")));
            }
        }
        let reader = builder
            .with_projection(mask)
            .with_batch_size(PIECE as usize)
            .with_row_selection_policy(RowSelectionPolicy::Selectors)
            .with_row_selection(selection(splits, rows))
            .build()
            .map_err(damaged)?;
        Ok(Self { path: path.to_owned(), rows, first: first.map(Ok), reader, times })
    }

    /// Returns those of the first rows that can be decoded. Later calls return nothing.
    pub(crate) fn first<L: DeserializeOwned>(&mut self) -> Vec<L> {
        let Some(Ok(batch)) = self.first.take() else { return Vec::new() };
        let rows = Deserializer::from_record_batch(&batch);
        rows.iter().flat_map(|rows| rows.iter().filter_map(|row| L::deserialize(row).ok())).collect()
    }

    pub(crate) fn read<L: DeserializeOwned>(
        &mut self,
        piece: u64,
        mut found: impl FnMut(Result<L, Malformed>),
    ) -> Result<Read, ConnectorError> {
        let first = piece * PIECE;
        if first >= self.rows {
            return Ok(Read::Nothing);
        }
        let damaged = |what: &str| format!("rows from {} on cannot be read: {what}", first + 1);
        let batch = self.reader.next().ok_or_else(|| invalid(&self.path, &damaged("there are no more")))?;
        let batch = batch.and_then(|batch| self.times.convert(batch));
        let batch = batch.map_err(|e| unreadable(&self.path, &damaged("is it damaged?"), e))?;
        let expected = PIECE.min(self.rows - first);
        if batch.num_rows() as u64 != expected {
            let what = format!("{} came in place of {expected}", batch.num_rows());
            return Err(invalid(&self.path, &damaged(&what)));
        }
        let rows =
            Deserializer::from_record_batch(&batch).map_err(|e| unreadable(&self.path, &damaged("of a type"), e))?;
        for (number, row) in (first + 1..).zip(&rows) {
            found(L::deserialize(row).map_err(|error| {
                let row = rows.get((number - first - 1) as usize);
                let shown = row.and_then(|row| <serde_json::Value as serde::Deserialize>::deserialize(row).ok());
                let content = shown.map(|row| row.to_string()).unwrap_or_default().into_bytes();
                Malformed { number, reason: error.to_string(), content }
            }));
        }
        Ok(Read::Whole { last: first + expected == self.rows })
    }
}

/// Returns a builder of a reader of `path`. The caller chooses the columns and rows.
fn builder(path: &Path, handle: &Handle) -> Result<ParquetRecordBatchReaderBuilder<Handle>, ConnectorError> {
    let damaged = |e: ParquetError| unreadable(path, "it cannot be read as Parquet: is it cut off or damaged?", e);
    let builder = ParquetRecordBatchReaderBuilder::try_new(handle.clone()).map_err(damaged)?;
    let columns = builder.parquet_schema().columns();
    let old_times = columns.iter().filter(|c| c.physical_type() == Type::INT96 && c.path().parts().len() == 1);
    let old_times: Vec<&str> = old_times.map(|column| column.name()).collect();
    if old_times.is_empty() {
        return Ok(builder);
    }
    // Times of 96 bits would be read in nanoseconds, which end in 2262: later times would turn into others.
    let microseconds = |field: &Arc<arrow_schema::Field>| {
        if old_times.contains(&field.name().as_str()) {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(TimeUnit::Microsecond, None)))
        } else {
            Arc::clone(field)
        }
    };
    let fields: arrow_schema::Fields = builder.schema().fields().iter().map(microseconds).collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    ParquetRecordBatchReaderBuilder::try_new_with_options(handle.clone(), options).map_err(damaged)
}

/// Returns the rows of the pieces that `splits` still has to read.
fn selection(splits: &Splits, rows: u64) -> RowSelection {
    let (mut splits, mut at, mut selectors) = (splits.clone(), 0, Vec::new());
    while splits.next() * PIECE < rows {
        let first = splits.next() * PIECE;
        let end = (first + PIECE).min(rows);
        if first > at {
            selectors.push(RowSelector::skip((first - at) as usize));
        }
        selectors.push(RowSelector::select((end - first) as usize));
        at = end;
        splits.advance();
    }
    selectors.into()
}
