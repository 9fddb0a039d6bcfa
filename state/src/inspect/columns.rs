//! The columns of a state, for formats whose rows all have the same ones: CSV and Parquet.
//!
//! Fields of records, and of records within them, are columns with dotted names (`value.amount`). Lists, maps, tuples and
//! enums with contents are one column each, which has them as JSON: their parts are not the same in every row.

use serde_json::Value;

use super::layout::Type;
use crate::evolve::shape::{Layout, Shape};
use crate::evolve::spec::StateEntry;

/// The contents of a column. Any cell may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// Integers that may be negative, of up to 64 bits.
    Integer,
    /// Integers that are not negative, of up to 64 bits.
    Unsigned,
    /// Floats.
    Float,
    /// Texts; bytes as hexadecimal digits.
    Text,
    /// Any value, as JSON.
    Json,
}

/// A column of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name of the column: the names of the fields, with dots between them.
    pub name: String,
    /// What is in it.
    pub of: ColumnType,
    path: Vec<String>,
}

impl Column {
    /// Returns the value of this column in a row, as [`dump`](super::dump) has it; `None` if the row has none.
    #[must_use]
    pub fn cell<'v>(&self, row: &'v Value) -> Option<&'v Value> {
        let found = self.path.iter().try_fold(row, |within, field| within.get(field))?;
        Some(found).filter(|found| !found.is_null())
    }
}

/// Returns the columns of a state.
#[must_use]
pub fn columns(of: &StateEntry) -> Vec<Column> {
    let Layout { key, value, header, ttl } = of.layout.clone().unwrap_or_default();
    let mut columns = Columns(Vec::new());
    match of.kind.as_str() {
        "timers" => {
            columns.plain("time_ms", ColumnType::Integer);
            columns.shape("key", key.as_ref());
        }
        "pending" => {
            columns.plain("time_ms", ColumnType::Integer);
            columns.plain("sequence", ColumnType::Unsigned);
            columns.shape("value", value.as_ref());
        }
        kind => {
            columns.shape("key", key.as_ref());
            if kind == "log" {
                columns.plain("sequence", ColumnType::Unsigned);
                columns.shape("header", header.as_ref());
            }
            columns.shape("value", value.as_ref());
            if ttl.is_some() {
                columns.plain("expires_ms", ColumnType::Integer);
            }
        }
    }
    columns.plain("undecoded", ColumnType::Json);
    columns.0
}

struct Columns(Vec<Column>);

impl Columns {
    fn plain(&mut self, name: &str, of: ColumnType) {
        self.0.push(Column { name: name.to_owned(), of, path: vec![name.to_owned()] });
    }

    fn shape(&mut self, name: &str, shape: Option<&Shape>) {
        let of = shape.map_or(Type::Unknown, |shape| Type::of(&shape.to_string()));
        self.add(&mut vec![name.to_owned()], &of);
    }

    fn add(&mut self, path: &mut Vec<String>, of: &Type) {
        match of {
            Type::Option(inner) if !matches!(**inner, Type::Option(_)) => self.add(path, inner),
            Type::Struct(fields) if !fields.is_empty() => {
                for (field, of) in fields {
                    path.push(field.clone());
                    self.add(path, of);
                    path.pop();
                }
            }
            other => self.0.push(Column { name: path.join("."), of: column_type(other), path: path.clone() }),
        }
    }
}

fn column_type(of: &Type) -> ColumnType {
    match of {
        Type::Plain(name) => match name.as_str() {
            "bool" => ColumnType::Boolean,
            "i8" | "i16" | "i32" | "i64" => ColumnType::Integer,
            "u8" | "u16" | "u32" | "u64" => ColumnType::Unsigned,
            "f32" | "f64" => ColumnType::Float,
            _ => ColumnType::Text,
        },
        Type::Enum(variants) if variants.iter().all(|(_, content)| content.is_unit()) => ColumnType::Text,
        _ => ColumnType::Json,
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    enum Plain {
        A,
        B,
    }

    #[derive(Serialize, Deserialize)]
    struct Inner {
        amount: f32,
        kind: Plain,
    }

    #[derive(Serialize, Deserialize)]
    struct Outer {
        inner: Option<Inner>,
        counts: Vec<u8>,
        pair: (u8, u8),
        big: i128,
    }

    #[test]
    fn records_are_columns_and_what_differs_from_row_to_row_is_json() {
        let layout = Layout { key: Some(Shape::of::<u64>()), value: Some(Shape::of::<Outer>()), ..Layout::default() };
        let state = StateEntry {
            name: "op/state".to_owned(),
            version: 1,
            kind: "value".to_owned(),
            layout: Some(layout),
            parameters: None,
        };
        let columns = columns(&state);
        let found: Vec<(&str, ColumnType)> = columns.iter().map(|column| (column.name.as_str(), column.of)).collect();
        let expected = [
            ("key", ColumnType::Unsigned),
            ("value.inner.amount", ColumnType::Float),
            ("value.inner.kind", ColumnType::Text),
            ("value.counts", ColumnType::Json),
            ("value.pair", ColumnType::Json),
            ("value.big", ColumnType::Text),
            ("undecoded", ColumnType::Json),
        ];
        assert_eq!(found, expected);
        let row = json!({ "key": 7, "value": { "inner": { "amount": 0.5, "kind": "A" }, "counts": [1] } });
        assert_eq!(columns[1].cell(&row), Some(&json!(0.5)));
        assert_eq!(columns[3].cell(&row), Some(&json!([1])));
        let row = json!({ "key": 7, "value": { "inner": null } });
        assert_eq!((columns[1].cell(&row), columns[4].cell(&row)), (None, None));
        _ = (Plain::A, Plain::B);
    }
}
