//! A record becomes a row: a line of COPY, with a value or NULL for each column that the record has.

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeSeq, SerializeTuple, SerializeTupleStruct};

use super::table::Column;
use super::value::ColumnType;
use crate::each_field::{EachField, Refused, each_field};

/// NULL, as COPY reads it.
const NULL: &[u8] = b"\\N";

/// Writes records as rows.
pub(super) struct RowEncoder {
    columns: Vec<Column>,
    /// The value of each column in the present row.
    values: Vec<Vec<u8>>,
}

impl RowEncoder {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let values = vec![Vec::new(); columns.len()];
        Self { columns, values }
    }

    /// Appends a row to `rows`. Nothing is appended if the record is refused.
    pub(super) fn write(&mut self, record: &impl Serialize, rows: &mut Vec<u8>) -> Result<(), Refused> {
        for value in &mut self.values {
            value.clear();
            value.extend(NULL);
        }
        each_field(record, self)?;
        for (column, value) in self.columns.iter().zip(&self.values) {
            if column.not_null && value == NULL {
                return Err(Refused(format!("column \"{}\" must not be null", column.name)));
            }
        }
        for (n, value) in self.values.iter().enumerate() {
            if n > 0 {
                rows.push(b'\t');
            }
            rows.extend(value);
        }
        rows.push(b'\n');
        Ok(())
    }

    /// Returns the text of the key of the row that was written last. Two rows have the same key if it is the same.
    pub(super) fn key(&self, columns: &[usize]) -> Vec<u8> {
        let values: Vec<&[u8]> =
            columns.iter().filter_map(|column| self.values.get(*column)).map(Vec::as_slice).collect();
        values.join(&b'\t')
    }
}

impl EachField for RowEncoder {
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        let found = self.columns.iter().zip(&mut self.values).find(|(column, _)| column.name == name);
        let (column, out) = found.ok_or_else(|| Refused(format!("it has a field \"{name}\", which is no column")))?;
        out.clear();
        let kind = column.kind;
        let written = match kind {
            ColumnType::Json | ColumnType::Jsonb => json(kind, value, out),
            _ => value.serialize(Value { kind, out }),
        };
        written.map_err(|Refused(reason)| Refused(format!("column \"{name}\": {reason}")))
    }
}

fn json<T: Serialize + ?Sized>(kind: ColumnType, value: &T, out: &mut Vec<u8>) -> Result<(), Refused> {
    let json = serde_json::to_string(value).map_err(|e| Refused(e.to_string()))?;
    if json == "null" {
        out.extend(NULL);
        return Ok(());
    }
    kind.json(&json, out).map_err(Refused)
}

/// A value of a column that is not JSON.
struct Value<'o> {
    kind: ColumnType,
    out: &'o mut Vec<u8>,
}

impl Value<'_> {
    fn nested(&self, what: &str) -> Refused {
        Refused(format!("{what} is not a value of a column of type {}: use jsonb", self.kind))
    }
}

macro_rules! integers {
    ($($method:ident($type:ty),)*) => {
        $(fn $method(self, value: $type) -> Result<(), Refused> {
            self.kind.integer(value.into(), self.out).map_err(Refused)
        })*
    };
}

impl<'o> ser::Serializer for Value<'o> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Bytes<'o>;
    type SerializeTuple = Bytes<'o>;
    type SerializeTupleStruct = Bytes<'o>;
    type SerializeTupleVariant = Impossible<(), Refused>;
    type SerializeMap = Impossible<(), Refused>;
    type SerializeStruct = Impossible<(), Refused>;
    type SerializeStructVariant = Impossible<(), Refused>;

    integers! {
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_i128(i128), serialize_u8(u8),
        serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
    }

    fn serialize_u128(self, value: u128) -> Result<(), Refused> {
        let value = i128::try_from(value).map_err(|e| Refused(format!("{value}: {e}")))?;
        self.serialize_i128(value)
    }

    fn serialize_bool(self, value: bool) -> Result<(), Refused> {
        self.kind.bool(value, self.out).map_err(Refused)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        // By its shortest text: 0.1 stays 0.1, and does not become 0.10000000149011612.
        let value =
            if value.is_finite() { value.to_string().parse().unwrap_or(f64::from(value)) } else { value.into() };
        self.serialize_f64(value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        self.kind.float(value, self.out).map_err(Refused)
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        self.kind.text(value, self.out).map_err(Refused)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refused> {
        self.kind.bytes(value, self.out).map_err(Refused)
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.out.extend(NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Refused> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Refused> {
        Err(self.nested("a variant with data"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Bytes<'o>, Refused> {
        if self.kind != ColumnType::Bytea {
            return Err(self.nested("a list"));
        }
        Ok(Bytes { kind: self.kind, out: self.out, bytes: Vec::new() })
    }

    fn serialize_tuple(self, len: usize) -> Result<Bytes<'o>, Refused> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Bytes<'o>, Refused> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Refused> {
        Err(self.nested("a variant with data"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Refused> {
        Err(self.nested("a map"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Refused> {
        Err(self.nested("a struct"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Refused> {
        Err(self.nested("a variant with data"))
    }
}

/// A list of bytes, each of which comes as a number.
struct Bytes<'o> {
    kind: ColumnType,
    out: &'o mut Vec<u8>,
    bytes: Vec<u8>,
}

impl Bytes<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let number = serde_json::to_value(value).ok().and_then(|value| value.as_u64());
        let byte = number.and_then(|number| u8::try_from(number).ok());
        self.bytes.push(byte.ok_or_else(|| Refused("a list for a column of type bytea has bytes only".to_owned()))?);
        Ok(())
    }

    fn write(self) -> Result<(), Refused> {
        self.kind.bytes(&self.bytes, self.out).map_err(Refused)
    }
}

impl SerializeSeq for Bytes<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.add(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.write()
    }
}

impl SerializeTuple for Bytes<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.add(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.write()
    }
}

impl SerializeTupleStruct for Bytes<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.add(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Reading {
        sensor: Option<&'static str>,
        celsius: f32,
        count: u64,
        tags: BTreeMap<&'static str, Option<u8>>,
        raw: Vec<u8>,
        unit: Unit,
    }

    #[derive(Serialize)]
    enum Unit {
        Celsius,
    }

    fn encoder() -> RowEncoder {
        let column = |name: &str, kind, not_null| Column { name: name.to_owned(), kind, not_null };
        RowEncoder::new(vec![
            column("count", ColumnType::Int4, true),
            column("sensor", ColumnType::Text(None), true),
            column("celsius", ColumnType::Float8, false),
            column("tags", ColumnType::Jsonb, false),
            column("raw", ColumnType::Bytea, false),
            column("unit", ColumnType::Text(None), false),
        ])
    }

    fn reading() -> Reading {
        let tags = BTreeMap::from([("a\"b", Some(1)), ("c", None)]);
        Reading { sensor: Some("s\t1"), celsius: 0.1, count: 7, tags, raw: vec![1, 254], unit: Unit::Celsius }
    }

    #[test]
    fn a_record_becomes_a_line_in_the_order_of_the_columns() {
        let (mut encoder, mut rows) = (encoder(), Vec::new());
        encoder.write(&reading(), &mut rows).unwrap();
        let line = "7\ts\\t1\t0.1\t{\"a\\\\\"b\":1,\"c\":null}\t\\\\x01fe\tCelsius\n";
        assert_eq!(String::from_utf8(rows).unwrap(), line);
        assert_eq!(encoder.key(&[1, 0]), b"s\\t1\t7");
    }

    #[test]
    fn a_record_that_does_not_fit_is_refused_with_its_column_and_nothing_is_written() {
        let (mut encoder, mut rows) = (encoder(), Vec::new());
        let mut refused = |record: &dyn Fn(&mut Reading)| {
            let mut reading = reading();
            record(&mut reading);
            encoder.write(&reading, &mut rows).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&|reading| reading.count = 1 << 40),
            "column \"count\": 1099511627776 is out of the range of int4"
        );
        assert_eq!(refused(&|reading| reading.sensor = None), "column \"sensor\" must not be null");
        assert!(
            refused(&|reading| reading.sensor = Some("\0"))
                .contains("column \"sensor\": a text contains the character NUL")
        );
        #[derive(Serialize)]
        struct More {
            count: u8,
            more: u8,
        }
        let error = encoder.write(&More { count: 1, more: 2 }, &mut rows).unwrap_err().to_string();
        assert_eq!(error, "it has a field \"more\", which is no column");
        assert_eq!(encoder.write(&7, &mut rows).unwrap_err().to_string(), "it is not a struct with named fields");
        assert!(rows.is_empty());
    }
}
