//! Parts of Parquet: a column for each field of the records.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_arrow::ArrayBuilder;
use serde_arrow::schema::SerdeArrowSchema;
use tidemill_engine::{ConnectorError, Data, ErrorKind};

use super::kinds;
use super::part::{Format, Rows};

/// Number of rows that become columns at a time.
const BATCH: usize = 4096;
/// Size of a row group, which is in memory until it is complete.
const GROUP_ROWS: usize = 128 * 1024;
const GROUP_BYTES: usize = 64 * 1024 * 1024;

const UNWRITABLE: &str = "columns cannot be written as Parquet";

/// The format of parts of Parquet.
pub(super) struct Parquet<T> {
    metadata: BTreeMap<String, String>,
    record: PhantomData<fn(T)>,
}

impl<T> Parquet<T> {
    pub(super) fn with_metadata(metadata: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { metadata: metadata.into_iter().collect(), record: PhantomData }
    }
}

impl<T> Parquet<T> {
    fn properties(&self) -> WriterProperties {
        let metadata = self.metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .set_key_value_metadata((!self.metadata.is_empty()).then(|| metadata.collect()))
            .build()
    }
}

fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> ConnectorError {
    move |e| ConnectorError::new(ErrorKind::Invalid, format!("{what}: {e}"))
}

impl<T: Data> Format<T> for Parquet<T> {
    fn extension(&self) -> &'static str {
        ".parquet"
    }

    fn begin(&self) -> Result<Box<dyn Rows<T>>, ConnectorError> {
        let refused = "the type of the records has no columns of Parquet";
        let (fields, made_up) = kinds::columns::<T>().map_err(failed(refused))?;
        let schema = SerdeArrowSchema::try_from(fields.as_slice()).map_err(failed(refused))?;
        // What a type reads may be other than what it writes.
        let mut tried = ArrayBuilder::new(schema.clone()).map_err(failed(refused))?;
        tried.push(&made_up).map_err(failed(refused))?;
        let builder = ArrayBuilder::new(schema).map_err(failed(refused))?;
        let schema = Arc::new(Schema::new(fields));
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(self.properties())).map_err(failed(refused))?;
        Ok(Box::new(ParquetRows { builder, rows: 0, writer, record: PhantomData }))
    }

    /// The rows are written anew: row groups of one epoch each would be too small to be read fast.
    fn put_together(&self, pieces: &[PathBuf], part: &mut File) -> Result<(), ConnectorError> {
        let mut writer = None;
        for piece in pieces {
            let cannot_open = |e| {
                let message = format!("could not read \"{}\"", piece.display());
                ConnectorError::caused(ErrorKind::Unavailable, message, e)
            };
            let unreadable = "a piece of Parquet cannot be read";
            let file = File::open(piece).map_err(cannot_open)?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed(unreadable))?;
            let schema = Arc::clone(reader.schema());
            let writer = match &mut writer {
                Some(writer) => writer,
                none => {
                    let file = part.try_clone().map_err(failed(UNWRITABLE))?;
                    let begun = ArrowWriter::try_new(file, schema, Some(self.properties()));
                    none.insert(begun.map_err(failed(UNWRITABLE))?)
                }
            };
            for batch in reader.with_batch_size(BATCH).build().map_err(failed(unreadable))? {
                writer.write(&batch.map_err(failed(unreadable))?).map_err(failed(UNWRITABLE))?;
            }
        }
        writer.map_or(Ok(()), |writer| writer.close().map(drop).map_err(failed(UNWRITABLE)))
    }
}

/// The rows of a part.
struct ParquetRows<T> {
    builder: ArrayBuilder,
    rows: usize,
    writer: ArrowWriter<Vec<u8>>,
    record: PhantomData<fn(T)>,
}

impl<T> ParquetRows<T> {
    fn write_batch(&mut self) -> Result<(), ConnectorError> {
        self.rows = 0;
        let batch = self.builder.to_record_batch().map_err(failed("records cannot be written as columns"))?;
        self.writer.write(&batch).map_err(failed(UNWRITABLE))
    }
}

impl<T: Data> Rows<T> for ParquetRows<T> {
    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        self.builder.push(record).map_err(|e| {
            ConnectorError::caused(
                ErrorKind::Invalid,
                format!("a record cannot be written as a row of Parquet: {record:?}"),
                e,
            )
        })?;
        self.rows += 1;
        if self.rows == BATCH {
            self.write_batch()?;
            out.append(self.writer.inner_mut());
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        if self.rows > 0 {
            self.write_batch()?;
        }
        // What was taken from the writer's buffer before comes first.
        let mut rest = self.writer.into_inner().map_err(failed("a file of Parquet cannot be finished"))?;
        out.append(&mut rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde::{Deserialize, Serialize};
    use tidemill_engine::EventTime;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Good,
        NotSoGood,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        mean: f64,
        name: Option<String>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        id: u64,
        at: EventTime,
        kind: Kind,
        inner: Inner,
        list: Option<Vec<f32>>,
        pairs: Vec<(u64, f64)>,
    }

    fn row(id: u64) -> Row {
        let name = (!id.is_multiple_of(3)).then(|| format!("é {id}"));
        Row {
            id,
            at: EventTime(-5 + id as i64),
            kind: if id.is_multiple_of(2) { Kind::Good } else { Kind::NotSoGood },
            inner: Inner { mean: id as f64 / 3.0, name },
            list: (id > 5).then(|| (0..id % 4).map(|at| at as f32).collect()),
            pairs: vec![(id, 0.5); (id % 3) as usize],
        }
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        // The last ones fill several row groups.
        for count in [1, 4096, 10_000, 300_000] {
            let format = Parquet::<Row>::with_metadata([("columns".to_owned(), "a,b".to_owned())]);
            let (mut rows, mut out) = (format.begin().unwrap(), Vec::new());
            (0..count).for_each(|id| rows.write(&row(id), &mut out).unwrap());
            rows.finish(&mut out).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(out)).unwrap();
            let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
            assert!(metadata.iter().any(|one| one.key == "columns" && one.value.as_deref() == Some("a,b")));
            let batches = reader.build().unwrap().map(|batch| serde_arrow::from_record_batch(&batch.unwrap()).unwrap());
            let found: Vec<Row> = batches.flat_map(|rows: Vec<Row>| rows).collect();
            assert!(found == (0..count).map(row).collect::<Vec<_>>(), "{count} rows");
        }
    }

    #[test]
    fn pieces_are_put_together_as_one_row_group() {
        let dir = tempfile::tempdir().unwrap();
        let format = Parquet::<Row>::with_metadata([("columns".to_owned(), "a,b".to_owned())]);
        let pieces = [(0, 10), (10, 11), (11, 9_000)].map(|(from, to)| {
            let (mut rows, mut out) = (format.begin().unwrap(), Vec::new());
            (from..to).for_each(|id| rows.write(&row(id), &mut out).unwrap());
            rows.finish(&mut out).unwrap();
            let path = dir.path().join(from.to_string());
            std::fs::write(&path, out).unwrap();
            path
        });
        let path = dir.path().join("part");
        format.put_together(&pieces, &mut File::create(&path).unwrap()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 1);
        let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
        assert!(metadata.iter().any(|one| one.key == "columns" && one.value.as_deref() == Some("a,b")));
        let batches = reader.build().unwrap().map(|batch| serde_arrow::from_record_batch(&batch.unwrap()).unwrap());
        let found: Vec<Row> = batches.flat_map(|rows: Vec<Row>| rows).collect();
        assert!(found == (0..9_000).map(row).collect::<Vec<_>>());
        std::fs::write(&pieces[1], "half").unwrap();
        let error = format.put_together(&pieces, &mut File::create(dir.path().join("x")).unwrap()).unwrap_err();
        assert!(error.to_string().contains("a piece of Parquet cannot be read"), "{error}");
    }

    #[test]
    fn nan_and_infinities_stay_what_they_are() {
        let format = Parquet::<Inner>::with_metadata([]);
        let (mut rows, mut out) = (format.begin().unwrap(), Vec::new());
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
        values.iter().for_each(|mean| rows.write(&Inner { mean: *mean, name: None }, &mut out).unwrap());
        rows.finish(&mut out).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(out)).unwrap().build().unwrap();
        let found: Vec<Inner> = serde_arrow::from_record_batch(&reader.next().unwrap().unwrap()).unwrap();
        assert!(found[0].mean.is_nan());
        assert!(found.iter().zip(&values).skip(1).all(|(found, wanted)| found.mean.to_bits() == wanted.to_bits()));
    }

    #[test]
    fn a_type_without_columns_is_refused_with_its_field() {
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct Mapped {
            id: u64,
            counts: std::collections::BTreeMap<String, u64>,
        }
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct Nested {
            id: u64,
            next: Option<Box<Nested>>,
        }
        #[derive(Clone, Debug, Serialize, Deserialize)]
        enum Shape {
            Circle(f64),
        }
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct Shaped {
            shape: Shape,
        }
        #[derive(Clone, Debug, Serialize, Deserialize)]
        enum Outcome {
            Unknown,
            Fraud(f64),
        }
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct Sometimes {
            outcome: Outcome,
        }
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct Address {
            at: std::net::Ipv4Addr,
        }
        fn refused<T: Data>() -> String {
            Parquet::<T>::with_metadata([]).begin().err().unwrap().to_string()
        }
        assert!(refused::<Mapped>().ends_with("counts: a map has no column"), "{}", refused::<Mapped>());
        assert!(refused::<Nested>().ends_with("contains itself, has no column"), "{}", refused::<Nested>());
        assert!(refused::<Shaped>().ends_with("shape: the enum Shape, which has data, has no column"));
        assert!(refused::<Sometimes>().contains("has data, has no column"), "{}", refused::<Sometimes>());
        assert!(refused::<Address>().contains("of the records has no columns of Parquet"), "{}", refused::<Address>());
        assert!(refused::<u64>().ends_with("it is not a struct with fields"), "{}", refused::<u64>());
    }
}
