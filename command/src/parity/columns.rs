//! Parquet: the features are the fields of a column `features`, or columns beside others, as in a training set.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidemill_state::ErrorKind;

use super::cell::{Cell, OtherCell};
use super::row::{FeatureRow, Names, Place, Visit, Wanted, key_of, number_text, put, unreadable};
use crate::failure::Failure;

/// Reads a file. Returns the number of its rows. Of a file without a column `features`, only `flat` are read, if given.
pub fn read(
    path: &Path,
    wanted: &Wanted<'_>,
    names: &mut Names,
    flat: Option<&[String]>,
    visit: Visit<'_>,
) -> Result<u64, Failure> {
    let damaged = |error: &dyn std::fmt::Display| {
        Failure::new(ErrorKind::Data, format!("\"{}\" is not whole Parquet: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
    let columns = Columns::of(builder.schema(), wanted, names, flat)
        .map_err(|why| Failure::new(ErrorKind::Data, format!("\"{}\": {why}", path.display())))?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.roots.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(|error| damaged(&error))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(&error))?;
        columns.visit(&batch, wanted, names, &mut |at, row| {
            let place = Place { path, unit: "row", number: rows + at as u64 + 1 };
            row.map_err(|why| place.failure(why)).and_then(|row| visit(&place, row))
        })?;
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

/// Which columns of a file are read.
struct Columns {
    roots: Vec<usize>,
    /// Whether the features are columns beside others.
    is_flat: bool,
    features: Vec<String>,
}

impl Columns {
    /// `flat` are the columns that are features where there is no column `features`; none where that is not known yet.
    fn of(schema: &Schema, wanted: &Wanted<'_>, names: &Names, flat: Option<&[String]>) -> Result<Self, String> {
        let all = || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        let find = |name: &str| schema.fields().iter().position(|field| field.name() == name);
        let mut roots = Vec::new();
        for name in wanted.keys {
            let at = find(name)
                .ok_or_else(|| format!("it has no column \"{name}\", which is part of the key; it has {}", all()))?;
            check(name, schema.field(at).data_type())?;
            roots.push(at);
        }
        if let Some(at) = find("model") {
            check("model", schema.field(at).data_type())?;
            roots.push(at);
        }
        if let Some(at) = find("features") {
            roots.push(at);
            let DataType::Struct(fields) = schema.field(at).data_type() else {
                return Err(format!("its column \"features\" is {}, not a struct", schema.field(at).data_type()));
            };
            let fields = fields.iter().filter(|field| !names.is_closed() || names.list().contains(field.name()));
            let fields: Vec<_> = fields.collect();
            fields.iter().try_for_each(|field| check(field.name(), field.data_type()))?;
            let features = fields.iter().map(|field| field.name().clone()).collect();
            return Ok(Self { roots, is_flat: false, features });
        }
        let mut features = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            let is_asked_for = match flat {
                Some(names) => names.contains(field.name()),
                // Which of them are features is not known yet, so that those of no value are not in the way.
                None => names.number_of(field.name()).is_some() || (!names.is_closed() && is_read(field.data_type())),
            };
            if is_asked_for && !roots.contains(&at) {
                check(field.name(), field.data_type())?;
                features.push((at, field.name().clone()));
            }
        }
        if features.is_empty() {
            return Err(format!("it has no column \"features\", and no column that is one; it has {}", all()));
        }
        roots.extend(features.iter().map(|(at, _)| *at));
        Ok(Self { roots, is_flat: true, features: features.into_iter().map(|(_, name)| name).collect() })
    }

    /// Gives the rows of the sample to `visit`, each with its number in the batch, or what is wrong with it.
    fn visit(
        &self,
        batch: &RecordBatch,
        wanted: &Wanted<'_>,
        names: &mut Names,
        visit: &mut dyn FnMut(usize, Result<FeatureRow, String>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let column = |name: &str| batch.column_by_name(name).map(|column| cells_of(column.as_ref()));
        let keys: Vec<CellsOf<'_>> = wanted.keys.iter().filter_map(|name| column(name)).collect();
        let model = column("model");
        let parent: Option<&StructArray> =
            if self.is_flat { None } else { batch.column_by_name("features").map(|features| features.as_struct()) };
        let child = |name: &String| match parent {
            Some(parent) => parent.column_by_name(name).map(|column| cells_of(column.as_ref())),
            None => column(name),
        };
        let numbered: Vec<(usize, CellsOf<'_>)> =
            self.features.iter().filter_map(|name| Some((names.number(name, 0)?, child(name)?))).collect();
        for at in 0..batch.num_rows() {
            let key = match key(wanted.keys, &keys, at) {
                Ok(key) if wanted.sample.takes(&key) => key,
                Ok(_) => continue,
                Err(why) => {
                    visit(at, Err(why))?;
                    continue;
                }
            };
            if parent.is_some_and(|parent| parent.is_null(at)) {
                visit(at, Err("its \"features\" is null".to_owned()))?;
                continue;
            }
            let mut cells = Vec::with_capacity(names.list().len());
            for (number, cell) in &numbered {
                put(&mut cells, *number, cell(at));
            }
            let model = model.as_ref().and_then(|model| text_of(&model(at)));
            visit(at, Ok(FeatureRow { key, model, cells, is_flat: self.is_flat }))?;
        }
        Ok(())
    }
}

fn key(names: &[String], columns: &[CellsOf<'_>], at: usize) -> Result<String, String> {
    let texts = columns.iter().zip(names).map(|(column, name)| {
        text_of(&column(at)).ok_or_else(|| format!("its \"{name}\" is null, and it is part of the key"))
    });
    texts.collect::<Result<_, _>>().map(key_of)
}

/// Returns the text of a field of the key, the same as of one in JSON.
fn text_of(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Absent | Cell::Null => None,
        Cell::Number(number) => Some(number_text(*number)),
        Cell::Other(other) => match &**other {
            OtherCell::Large(integer) => Some(integer.to_string()),
            OtherCell::Text(text) | OtherCell::Json(text) => Some(text.clone()),
        },
    }
}

fn check(name: &str, of: &DataType) -> Result<(), String> {
    if is_read(of) {
        return Ok(());
    }
    Err(format!("its column \"{name}\" is {of}: only numbers, booleans, texts and times are compared"))
}

fn is_read(of: &DataType) -> bool {
    match of {
        DataType::Dictionary(_, values) => is_read(values),
        DataType::Null | DataType::Boolean | DataType::Timestamp(..) => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The cells of a column by their index.
type CellsOf<'a> = Box<dyn Fn(usize) -> Cell + 'a>;

/// Returns the cells of a column of a type that [`is_read`].
fn cells_of(array: &dyn Array) -> CellsOf<'_> {
    macro_rules! cells {
        ($array:expr, |$value:ident| $cell:expr) => {{
            let array = $array;
            Box::new(move |at| {
                if array.is_null(at) {
                    return Cell::Null;
                }
                let $value = array.value(at);
                $cell
            })
        }};
        (integer $of:ty) => {
            cells!(array.as_primitive::<$of>(), |value| Cell::integer(value.into()))
        };
    }
    match array.data_type() {
        DataType::Boolean => cells!(array.as_boolean(), |value| Cell::integer(value.into())),
        DataType::Int8 => cells!(integer Int8Type),
        DataType::Int16 => cells!(integer Int16Type),
        DataType::Int32 => cells!(integer Int32Type),
        DataType::Int64 => cells!(integer Int64Type),
        DataType::UInt8 => cells!(integer UInt8Type),
        DataType::UInt16 => cells!(integer UInt16Type),
        DataType::UInt32 => cells!(integer UInt32Type),
        DataType::UInt64 => cells!(integer UInt64Type),
        DataType::Float16 => cells!(array.as_primitive::<Float16Type>(), |value| Cell::number(value.to_f64())),
        DataType::Float32 => cells!(array.as_primitive::<Float32Type>(), |value| Cell::number(value.into())),
        DataType::Float64 => cells!(array.as_primitive::<Float64Type>(), |value| Cell::number(value)),
        DataType::Utf8 => cells!(array.as_string::<i32>(), |value| Cell::text(value)),
        DataType::LargeUtf8 => cells!(array.as_string::<i64>(), |value| Cell::text(value)),
        DataType::Utf8View => cells!(array.as_string_view(), |value| Cell::text(value)),
        // Times are milliseconds, as programs write them to JSON.
        DataType::Timestamp(TimeUnit::Second, _) => {
            cells!(array.as_primitive::<TimestampSecondType>(), |value| Cell::integer(i128::from(value) * 1000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => cells!(integer TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            cells!(array.as_primitive::<TimestampMicrosecondType>(), |value| milliseconds(value, 1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            cells!(array.as_primitive::<TimestampNanosecondType>(), |value| milliseconds(value, 1_000_000))
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = cells_of(dictionary.values().as_ref());
            // Without a value each key is null, and none can be normalized.
            let keys = if dictionary.values().is_empty() { Vec::new() } else { dictionary.normalized_keys() };
            Box::new(move |at| match keys.get(at) {
                Some(key) if !array.is_null(at) => values(*key),
                _ => Cell::Null,
            })
        }
        _ => Box::new(|_| Cell::Null),
    }
}

fn milliseconds(value: i64, of_one: i64) -> Cell {
    if value % of_one == 0 {
        Cell::integer((value / of_one).into())
    } else {
        Cell::number(value as f64 / of_one as f64)
    }
}
