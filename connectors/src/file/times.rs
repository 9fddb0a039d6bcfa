//! Conversion of times in Parquet columns, by their logical type, to what the fields of the record's type accept.
//!
//! ```text
//! column              field: EventTime      a number       text (chrono, jiff, String)
//! timestamp in ms     milliseconds          milliseconds   RFC 3339, with Z where the column is in UTC, else without
//! … in µs, ns; INT96  milliseconds          refused        the same
//! date                midnight UTC          refused        2025-01-31
//! time of day         refused               refused        12:00:00
//! ```
//! A number does not say its unit, so a field that is a number is refused before the first record, unless the column
//! is in milliseconds. Columns without a zone are taken to be in UTC, as the programs that write them do. What a
//! field accepts is found out by calling its `Deserialize` with a sample. Known limit: INT96 within other columns
//! covers only the years 1677 to 2262.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, GenericListArray, OffsetSizeTrait, RecordBatch, StructArray, make_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, TimeUnit};
use serde::de::DeserializeOwned;

use super::asked::{Asked, Step, asked};

/// The conversion of a column, or of a part of one, before rows are made of it.
#[derive(Debug, PartialEq, Eq)]
enum Convert {
    Nothing,
    /// Times become milliseconds.
    Millis,
    /// The zone of the column's type becomes UTC. The values do not change: they count from the epoch in UTC already.
    Utc,
    Struct(Vec<Convert>),
    List(Box<Convert>),
}

/// The conversions of all columns of a file.
pub(super) struct Times(Vec<Convert>);

impl Times {
    /// Returns the conversions that `L` needs, or why one of its fields cannot accept its column.
    pub(super) fn plan<L: DeserializeOwned>(columns: &Fields) -> Result<Self, String> {
        columns.iter().map(|column| plan::<L>(column, &mut Vec::new())).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn convert(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.0.iter().all(|convert| *convert == Convert::Nothing) {
            return Ok(batch);
        }
        let columns = each(&self.0, batch.columns())?;
        let fields = retyped(batch.schema().fields(), &columns);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

fn plan<L: DeserializeOwned>(field: &Field, path: &mut Vec<Step>) -> Result<Convert, String> {
    path.push(Step::Field(field.name().clone()));
    let convert = plan_type::<L>(field.data_type(), path);
    path.pop();
    convert
}

fn plan_type<L: DeserializeOwned>(data_type: &DataType, path: &mut Vec<Step>) -> Result<Convert, String> {
    match data_type {
        DataType::Struct(fields) => {
            let parts = fields.iter().map(|field| plan::<L>(field, path)).collect::<Result<Vec<_>, _>>()?;
            let is_nothing = parts.iter().all(|part| *part == Convert::Nothing);
            Ok(if is_nothing { Convert::Nothing } else { Convert::Struct(parts) })
        }
        DataType::List(items) | DataType::LargeList(items) => {
            path.push(Step::Item);
            let item = plan_type::<L>(items.data_type(), path);
            path.pop();
            let item = item?;
            Ok(if item == Convert::Nothing { item } else { Convert::List(Box::new(item)) })
        }
        DataType::Timestamp(unit, zone) => {
            let sample = if zone.is_some() { "1970-01-01T00:00:00Z" } else { "1970-01-01T00:00:00" };
            let what =
                format!("a timestamp in {}{}", short(*unit), if zone.is_some() { "" } else { " without a zone" });
            let as_it_is =
                if zone.as_deref().is_some_and(|zone| zone != "UTC") { Convert::Utc } else { Convert::Nothing };
            match asked::<L>(path, sample) {
                Some(Asked::EventTime) => Ok(Convert::Millis),
                Some(Asked::Number) if *unit == TimeUnit::Millisecond => Ok(as_it_is),
                Some(asked) => taken(path, &what, sample, asked).map(|()| as_it_is),
                None => Ok(as_it_is),
            }
        }
        DataType::Date32 | DataType::Date64 => {
            let sample = "1970-01-01";
            match asked::<L>(path, sample) {
                Some(Asked::EventTime) => Ok(Convert::Millis),
                Some(asked) => taken(path, "a date", sample, asked).map(|()| Convert::Nothing),
                None => Ok(Convert::Nothing),
            }
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let sample = "00:00:00";
            match asked::<L>(path, sample) {
                Some(Asked::EventTime) => {
                    Err(format!("{} is a time of day, which is no event time: read it as text", named(path)))
                }
                Some(asked) => taken(path, "a time of day", sample, asked).map(|()| Convert::Nothing),
                None => Ok(Convert::Nothing),
            }
        }
        _ => Ok(Convert::Nothing),
    }
}

/// Checks that the field accepts the column's values, which are given to it as text. The error says why not.
fn taken(path: &[Step], what: &str, sample: &str, asked: Asked) -> Result<(), String> {
    let column = named(path);
    match asked {
        Asked::Number => Err(format!(
            "{column} is {what}, and a number does not say its unit: make its field an EventTime, which counts milliseconds, or a type of chrono or jiff, or a String"
        )),
        Asked::Text(Err(error)) => {
            Err(format!("{column} is {what}, given as \"{sample}\", which its field does not take: {error}"))
        }
        Asked::Text(Ok(())) | Asked::EventTime => Ok(()),
    }
}

fn named(path: &[Step]) -> String {
    let mut name = String::new();
    for step in path {
        match step {
            Step::Field(field) if name.is_empty() => name.push_str(field),
            Step::Field(field) => name.extend([".", field]),
            Step::Item => name.push_str("[]"),
        }
    }
    format!("column \"{name}\"")
}

fn short(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "µs",
        TimeUnit::Nanosecond => "ns",
    }
}

fn each(converts: &[Convert], arrays: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
    converts.iter().zip(arrays).map(|(convert, array)| apply(convert, array)).collect()
}

fn apply(convert: &Convert, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match (convert, array.data_type()) {
        (Convert::Millis, _) => millis(array),
        (Convert::Utc, DataType::Timestamp(unit, _)) => {
            let utc = DataType::Timestamp(*unit, Some("UTC".into()));
            Ok(make_array(array.to_data().into_builder().data_type(utc).build()?))
        }
        (Convert::Struct(parts), DataType::Struct(_)) => {
            let (fields, arrays, nulls) = array.as_struct().clone().into_parts();
            let arrays = each(parts, &arrays)?;
            Ok(Arc::new(StructArray::try_new(retyped(&fields, &arrays), arrays, nulls)?))
        }
        (Convert::List(item), DataType::List(_)) => list::<i32>(item, array),
        (Convert::List(item), DataType::LargeList(_)) => list::<i64>(item, array),
        _ => Ok(Arc::clone(array)),
    }
}

fn list<O: OffsetSizeTrait>(item: &Convert, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (field, offsets, values, nulls) = array.as_list::<O>().clone().into_parts();
    let values = apply(item, &values)?;
    let field = field.as_ref().clone().with_data_type(values.data_type().clone());
    Ok(Arc::new(GenericListArray::try_new(Arc::new(field), offsets, values, nulls)?))
}

fn retyped(fields: &Fields, arrays: &[ArrayRef]) -> Fields {
    let of = |(field, array): (&Arc<Field>, &ArrayRef)| {
        if field.data_type() == array.data_type() {
            Arc::clone(field)
        } else {
            Arc::new(field.as_ref().clone().with_data_type(array.data_type().clone()))
        }
    };
    fields.iter().zip(arrays).map(of).collect()
}

/// Converts times to milliseconds since the Unix epoch, rounded down (towards the past).
fn millis(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn by<T: ArrowPrimitiveType>(array: &ArrayRef, convert: impl Fn(T::Native) -> i64) -> ArrayRef {
        Arc::new(array.as_primitive::<T>().unary::<_, Int64Type>(convert))
    }
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => by::<TimestampSecondType>(array, |s| s.saturating_mul(1000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => by::<TimestampMillisecondType>(array, |ms| ms),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            by::<TimestampMicrosecondType>(array, |us| us.div_euclid(1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            by::<TimestampNanosecondType>(array, |ns| ns.div_euclid(1_000_000))
        }
        DataType::Date32 => by::<Date32Type>(array, |days| i64::from(days) * 86_400_000),
        DataType::Date64 => by::<Date64Type>(array, |ms| ms),
        other => return Err(ArrowError::CastError(format!("{other} is no time"))),
    })
}
