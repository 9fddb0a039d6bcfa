//! Values as Feast has them: a message of which one field is set, by the type of the value.

use prost::encoding;
use serde::Serialize;
use serde::ser::{Impossible, Serializer};

use crate::each_field::Refused;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// Returns it as `feast.types.Value`.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut to = Vec::new();
        match self {
            Self::Null => {}
            Self::Bytes(value) => encoding::bytes::encode(1, value, &mut to),
            Self::Text(value) => encoding::string::encode(2, value, &mut to),
            Self::Integer(value) => encoding::int64::encode(4, value, &mut to),
            Self::Double(value) => encoding::double::encode(5, value, &mut to),
            Self::Float(value) => encoding::float::encode(6, value, &mut to),
            Self::Bool(value) => encoding::bool::encode(7, value, &mut to),
        }
        to
    }
}

/// Takes a value that is not nested.
pub(super) struct OneValue;

type Nested = Impossible<Value, Refused>;

/// What is wrong with a list, a map or a struct.
pub(super) const NESTED: &str = "is nested, and a feature is one value";

fn nested<T>() -> Result<T, Refused> {
    Err(Refused(NESTED.to_owned()))
}

fn integer<N: TryInto<i64> + Copy + std::fmt::Display>(number: N) -> Result<Value, Refused> {
    let too_large = |_| Refused(format!("is {number}, and Feast has integers of 64 bits with a sign"));
    number.try_into().map(Value::Integer).map_err(too_large)
}

macro_rules! integers {
    ($($method:ident($type:ty),)*) => {
        $(fn $method(self, value: $type) -> Result<Value, Refused> {
            integer(value)
        })*
    };
}

impl Serializer for OneValue {
    type Ok = Value;
    type Error = Refused;
    type SerializeSeq = Nested;
    type SerializeTuple = Nested;
    type SerializeTupleStruct = Nested;
    type SerializeTupleVariant = Nested;
    type SerializeMap = Nested;
    type SerializeStruct = Nested;
    type SerializeStructVariant = Nested;

    integers! {
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_i128(i128), serialize_u8(u8),
        serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_u128(u128),
    }

    fn serialize_bool(self, value: bool) -> Result<Value, Refused> {
        Ok(Value::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, Refused> {
        Ok(Value::Float(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, Refused> {
        Ok(Value::Double(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, Refused> {
        Ok(Value::Text(value.to_string()))
    }

    fn serialize_str(self, value: &str) -> Result<Value, Refused> {
        Ok(Value::Text(value.to_owned()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, Refused> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, Refused> {
        Ok(Value::Null)
    }

    fn serialize_unit(self) -> Result<Value, Refused> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Refused> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, Refused> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Refused> {
        Ok(Value::Text(variant.to_owned()))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Refused> {
        nested()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Nested, Refused> {
        nested()
    }

    fn serialize_tuple(self, _: usize) -> Result<Nested, Refused> {
        nested()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nested, Refused> {
        nested()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Nested, Refused> {
        nested()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Nested, Refused> {
        nested()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nested, Refused> {
        nested()
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Nested, Refused> {
        nested()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_value_is_refused() {
        assert_eq!(
            u64::MAX.serialize(OneValue).unwrap_err().0,
            "is 18446744073709551615, and Feast has integers of 64 bits with a sign"
        );
        assert!([1_u8].as_slice().serialize(OneValue).unwrap_err().0.contains("is nested"));
        assert_eq!(Some(i64::MIN).serialize(OneValue).unwrap(), Value::Integer(i64::MIN));
        assert_eq!(Option::<f32>::None.serialize(OneValue).unwrap(), Value::Null);
        let nan = f64::NAN.serialize(OneValue).unwrap().encoded();
        assert_eq!(nan, [&[0x29][..], &f64::NAN.to_le_bytes()].concat(), "NaN is a value, and not null");
    }
}
