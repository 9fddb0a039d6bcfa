//! The fields of a record as Redis has them: a text each, or JSON for what is nested.

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::ser::{CompactFormatter, Compound};

use crate::each_field::{EachField, Refused, each_field};

/// A field of a record; without a value it is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) value: Option<Vec<u8>>,
}

/// Returns the fields of a record that are wanted.
pub(super) fn fields(record: &impl Serialize, wanted: impl Fn(&str) -> bool) -> Result<Vec<Field>, Refused> {
    let mut collected = Collected { wanted, fields: Vec::new() };
    each_field(record, &mut collected)?;
    Ok(collected.fields)
}

struct Collected<W> {
    wanted: W,
    fields: Vec<Field>,
}

impl<W: Fn(&str) -> bool> EachField for Collected<W> {
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        if (self.wanted)(name) {
            let value = text(value).map_err(|e| Refused(format!("field \"{name}\": {e}")))?;
            self.fields.push(Field { name, value });
        }
        Ok(())
    }
}

/// Returns the text of a value; `None` if it is null.
fn text(value: &(impl Serialize + ?Sized)) -> Result<Option<Vec<u8>>, serde_json::Error> {
    let (mut json, mut plain) = (serde_json::Serializer::new(Vec::new()), Plain::Not);
    value.serialize(Text { json: &mut json, plain: &mut plain })?;
    Ok(match plain {
        Plain::Null => None,
        Plain::Text(text) => Some(text),
        Plain::Not => Some(json.into_inner()),
    })
}

/// A value that is no JSON.
enum Plain {
    Null,
    Text(Vec<u8>),
    /// It is nested, and so JSON.
    Not,
}

struct Text<'a> {
    json: &'a mut serde_json::Serializer<Vec<u8>>,
    plain: &'a mut Plain,
}

impl Text<'_> {
    fn plain(self, text: impl Into<Vec<u8>>) -> Result<(), serde_json::Error> {
        *self.plain = Plain::Text(text.into());
        Ok(())
    }

    fn null(self) -> Result<(), serde_json::Error> {
        *self.plain = Plain::Null;
        Ok(())
    }
}

macro_rules! shown {
    ($($method:ident($type:ty) as $format:literal,)*) => {
        $(fn $method(self, value: $type) -> Result<(), serde_json::Error> {
            self.plain(format!($format, value))
        })*
    };
}

impl<'a> Serializer for Text<'a> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Compound<'a, Vec<u8>, CompactFormatter>;
    type SerializeTuple = Compound<'a, Vec<u8>, CompactFormatter>;
    type SerializeTupleStruct = Compound<'a, Vec<u8>, CompactFormatter>;
    type SerializeTupleVariant = Compound<'a, Vec<u8>, CompactFormatter>;
    type SerializeMap = Compound<'a, Vec<u8>, CompactFormatter>;
    type SerializeStruct = Compound<'a, Vec<u8>, CompactFormatter>;
    type SerializeStructVariant = Compound<'a, Vec<u8>, CompactFormatter>;

    shown! {
        serialize_bool(bool) as "{}", serialize_i8(i8) as "{}", serialize_i16(i16) as "{}", serialize_i32(i32) as "{}",
        serialize_i64(i64) as "{}", serialize_i128(i128) as "{}", serialize_u8(u8) as "{}", serialize_u16(u16) as "{}",
        serialize_u32(u32) as "{}", serialize_u64(u64) as "{}", serialize_u128(u128) as "{}", serialize_f32(f32) as "{:?}",
        serialize_f64(f64) as "{:?}", serialize_char(char) as "{}", serialize_str(&str) as "{}",
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), serde_json::Error> {
        self.plain(value)
    }

    fn serialize_none(self) -> Result<(), serde_json::Error> {
        self.null()
    }

    fn serialize_unit(self) -> Result<(), serde_json::Error> {
        self.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), serde_json::Error> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), serde_json::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), serde_json::Error> {
        self.plain(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        self.json.serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, serde_json::Error> {
        self.json.serialize_seq(len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, serde_json::Error> {
        self.json.serialize_tuple(len)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, serde_json::Error> {
        self.json.serialize_tuple_struct(name, len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, serde_json::Error> {
        self.json.serialize_tuple_variant(name, index, variant, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, serde_json::Error> {
        self.json.serialize_map(len)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, serde_json::Error> {
        self.json.serialize_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, serde_json::Error> {
        self.json.serialize_struct_variant(name, index, variant, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    enum Kind {
        Plain,
        Nested { a: u8 },
    }

    #[test]
    fn a_value_is_a_text_and_only_what_is_nested_is_json() {
        let of = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
        assert_eq!(of(text(&Some("a \"b\"")).unwrap()).unwrap(), "a \"b\"");
        assert_eq!(of(text(&None::<u8>).unwrap()), None);
        assert_eq!(of(text(&u64::MAX).unwrap()).unwrap(), "18446744073709551615");
        assert_eq!(of(text(&0.1_f32).unwrap()).unwrap(), "0.1");
        assert_eq!(of(text(&1e300).unwrap()).unwrap(), "1e300");
        // JSON would have null for it.
        assert_eq!(of(text(&f64::NAN).unwrap()).unwrap(), "NaN");
        assert_eq!(of(text(&Kind::Plain).unwrap()).unwrap(), "Plain");
        assert_eq!(of(text(&Kind::Nested { a: 1 }).unwrap()).unwrap(), "{\"Nested\":{\"a\":1}}");
        assert_eq!(of(text(&vec![Some("x"), None]).unwrap()).unwrap(), "[\"x\",null]");
    }
}
