//! The fields of a record type, found without a record: its `Deserialize` is given a deserializer that remembers what it
//! is asked for. So a table or key that does not fit is refused before the first record.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

/// A field of a record, and what kind of value it has, as far as that can be known without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Option<Kind>,
}

/// The kind of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Integer,
    Float,
    Text,
    Bytes,
    /// A list, a map or a struct.
    Nested,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Nested => "list, map or struct",
        })
    }
}

/// Returns the fields of a struct; `None` for a type that is no struct with names known beforehand.
pub(crate) fn fields_of<T: DeserializeOwned>() -> Option<Vec<Field>> {
    let mut found = None;
    // It ends with an error where a field takes no value but its own: what was found until then counts.
    drop(T::deserialize(Record { found: &mut found, nested: false }));
    found
}

/// The reason why the search ends.
#[derive(Debug, thiserror::Error)]
#[error("no record")]
struct Over;

impl de::Error for Over {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self
    }
}

/// Stands for a record.
struct Record<'f> {
    found: &'f mut Option<Vec<Field>>,
    /// Whether it is a field of another one, whose fields are of no interest.
    nested: bool,
}

impl<'de> de::Deserializer<'de> for Record<'_> {
    type Error = Over;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Over> {
        Err(Over)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Over> {
        let fields = self.found.insert(names.iter().map(|name| Field { name, kind: None }).collect());
        visitor.visit_map(Fields { fields, next: 0, nested: self.nested })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

/// Hands out the fields of a record, one after the other.
struct Fields<'f> {
    fields: &'f mut Vec<Field>,
    next: usize,
    nested: bool,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Over;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Over> {
        let Some(field) = self.fields.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(de::value::StrDeserializer::<Over>::new(field.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Over> {
        let field = self.fields.get_mut(self.next.wrapping_sub(1)).ok_or(Over)?;
        seed.deserialize(Value { kind: &mut field.kind, nested: self.nested })
    }
}

/// Stands for a value of a field, of whatever kind it is asked for.
struct Value<'f> {
    kind: &'f mut Option<Kind>,
    nested: bool,
}

macro_rules! values {
    ($($method:ident: $kind:ident => $visit:ident($value:expr),)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
            *self.kind = Some(Kind::$kind);
            visitor.$visit($value)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Value<'_> {
    type Error = Over;

    /// A value that may be of several kinds, such as an event time, is often a number among them.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_i64(0)
    }

    values! {
        deserialize_bool: Bool => visit_bool(false),
        deserialize_i8: Integer => visit_i8(0),
        deserialize_i16: Integer => visit_i16(0),
        deserialize_i32: Integer => visit_i32(0),
        deserialize_i64: Integer => visit_i64(0),
        deserialize_i128: Integer => visit_i128(0),
        deserialize_u8: Integer => visit_u8(0),
        deserialize_u16: Integer => visit_u16(0),
        deserialize_u32: Integer => visit_u32(0),
        deserialize_u64: Integer => visit_u64(0),
        deserialize_u128: Integer => visit_u128(0),
        deserialize_f32: Float => visit_f32(0.0),
        deserialize_f64: Float => visit_f64(0.0),
        deserialize_char: Text => visit_char(' '),
        deserialize_str: Text => visit_str(""),
        deserialize_string: Text => visit_str(""),
        deserialize_bytes: Bytes => visit_bytes(&[]),
        deserialize_byte_buf: Bytes => visit_bytes(&[]),
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        // A type that contains itself has no end otherwise.
        if self.nested { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        *self.kind = Some(Kind::Nested);
        visitor.visit_seq(de::value::SeqDeserializer::<_, Over>::new(std::iter::empty::<u8>()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Over> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Over> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        *self.kind = Some(Kind::Nested);
        visitor.visit_map(de::value::MapDeserializer::<_, Over>::new(std::iter::empty::<(u8, u8)>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Over> {
        *self.kind = Some(Kind::Nested);
        Record { found: &mut None, nested: true }.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Over> {
        // Text, if it is a variant without data; another one is found when it is written.
        let first = variants.first().ok_or(Over)?;
        visitor.visit_enum(de::value::StrDeserializer::<Over>::new(first))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use tidemill_engine::EventTime;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Reading {
        sensor: String,
        at: EventTime,
        celsius: Option<f64>,
        ok: bool,
        tags: Vec<String>,
        by_name: BTreeMap<String, u8>,
        place: Place,
        #[serde(rename = "Count")]
        count: u16,
        unit: Unit,
        address: std::net::IpAddr,
        last: i64,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Place {
        x: f32,
    }

    #[derive(Deserialize)]
    enum Unit {
        Celsius,
    }

    #[test]
    fn names_and_kinds_are_found_without_a_record() {
        let fields = fields_of::<Reading>().unwrap();
        let found: Vec<(&str, Option<Kind>)> = fields.iter().map(|field| (field.name, field.kind)).collect();
        let known = |name, kind| (name, Some(kind));
        assert_eq!(
            found,
            [
                known("sensor", Kind::Text),
                // A number, or a text.
                ("at", None),
                known("celsius", Kind::Float),
                known("ok", Kind::Bool),
                known("tags", Kind::Nested),
                known("by_name", Kind::Nested),
                known("place", Kind::Nested),
                known("Count", Kind::Integer),
                ("unit", None),
                // It takes no empty text, so the kinds of the others stay unknown.
                known("address", Kind::Text),
                ("last", None),
            ]
        );
        assert_eq!(fields_of::<(u8, u8)>(), None);
        assert_eq!(fields_of::<BTreeMap<String, u8>>(), None);
    }
}
