//! Stored values as JSON: bincode is asked for what a shape says, in order.
//!
//! Structs are objects, enums are as serde has them (`"Plain"`, `{"One": 1}`), bytes are hexadecimal digits, and maps are
//! objects if their keys are texts, otherwise lists of pairs. Integers of 128 bits, and floats that JSON does not have, are
//! texts.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_json::{Map, Value};

use super::layout::Type;
use crate::codec::{self, DecodeError};

/// Decodes a value of this type.
pub(super) fn decode(of: &Type, bytes: &[u8]) -> Result<Value, DecodeError> {
    codec::decode_by(bytes, Seed(of))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[derive(Clone, Copy)]
struct Seed<'t>(&'t Type);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self.0 {
            Type::Unknown => Err(D::Error::custom("a part of its type is not known")),
            Type::Plain(name) => plain(name, from, self),
            Type::Option(_) => from.deserialize_option(self),
            Type::List(_) => from.deserialize_seq(self),
            Type::Map(_) => from.deserialize_map(self),
            Type::Tuple(parts) => from.deserialize_tuple(parts.len(), self),
            Type::Struct(fields) => from.deserialize_tuple(fields.len(), self),
            Type::Enum(_) => from.deserialize_enum("", &[], self),
        }
    }
}

fn plain<'de, D: Deserializer<'de>>(name: &str, from: D, seed: Seed<'_>) -> Result<Value, D::Error> {
    match name {
        "bool" => from.deserialize_bool(seed),
        "i8" => from.deserialize_i8(seed),
        "i16" => from.deserialize_i16(seed),
        "i32" => from.deserialize_i32(seed),
        "i64" => from.deserialize_i64(seed),
        "i128" => from.deserialize_i128(seed),
        "u8" => from.deserialize_u8(seed),
        "u16" => from.deserialize_u16(seed),
        "u32" => from.deserialize_u32(seed),
        "u64" => from.deserialize_u64(seed),
        "u128" => from.deserialize_u128(seed),
        "f32" => from.deserialize_f32(seed),
        "f64" => from.deserialize_f64(seed),
        "char" => from.deserialize_char(seed),
        "string" => from.deserialize_string(seed),
        "bytes" => from.deserialize_byte_buf(seed),
        other => Err(D::Error::custom(format!("its shape has \"{other}\", which this version does not know"))),
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    /// The digits of the shorter float, not those of the longer one that is equal to it.
    fn visit_f32<E: Error>(self, value: f32) -> Result<Value, E> {
        self.visit_f64(value.to_string().parse().unwrap_or_else(|_| f64::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(hex(value).into())
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self.0 {
            Type::Option(inner) => Seed(inner).deserialize(from),
            _ => Err(D::Error::custom("its type is no option")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let cut = || A::Error::custom("it is cut off");
        match self.0 {
            Type::Struct(fields) => {
                let mut object = Map::new();
                for (name, of) in fields {
                    object.insert(name.clone(), parts.next_element_seed(Seed(of))?.ok_or_else(cut)?);
                }
                Ok(Value::Object(object))
            }
            Type::Tuple(of) => {
                let parts = of.iter().map(|of| parts.next_element_seed(Seed(of))?.ok_or_else(cut));
                parts.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            Type::List(of) => {
                let mut list = Vec::new();
                while let Some(element) = parts.next_element_seed(Seed(of))? {
                    list.push(element);
                }
                Ok(Value::Array(list))
            }
            _ => Err(A::Error::custom("its type has no parts")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Type::Map(pair) = self.0 else { return Err(A::Error::custom("its type is no map")) };
        let [key, value] = pair.as_ref();
        let mut pairs = Vec::new();
        while let Some(entry) = entries.next_entry_seed(Seed(key), Seed(value))? {
            pairs.push(entry);
        }
        if pairs.iter().all(|(key, _)| key.is_string()) {
            let text = |key: Value| key.as_str().map(str::to_owned).unwrap_or_default();
            return Ok(Value::Object(pairs.into_iter().map(|(key, value)| (text(key), value)).collect()));
        }
        Ok(Value::Array(pairs.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect()))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        let Type::Enum(variants) = self.0 else { return Err(A::Error::custom("its type is no enum")) };
        let (number, content) = from.variant_seed(PhantomData::<u32>)?;
        let (name, of) = variants
            .get(number as usize)
            .ok_or_else(|| A::Error::custom(format!("it is variant {number}, its shape has {}", variants.len())))?;
        if of.is_unit() {
            return content.unit_variant().map(|()| name.as_str().into());
        }
        let value = match of {
            // A tuple of one part is what one value is.
            Type::Tuple(parts) if parts.len() == 1 => {
                content.newtype_variant_seed(Seed(parts.first().unwrap_or(of)))?
            }
            other => content.newtype_variant_seed(Seed(other))?,
        };
        Ok(Value::Object(Map::from_iter([(name.clone(), value)])))
    }
}
