//! What a type may ask of one field, each answered as the `csv` crate does.

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, Visitor};

use super::row::Row;
use crate::plain::number::Number;
use crate::plain::refused::Refused;

/// Defines methods that note the result of a method of the row.
macro_rules! by_row {
    ($($method:ident ($($name:ident : $type:ty),*) => |$row:ident, $visitor:ident| $value:expr;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* $visitor: V) -> Result<V::Value, Refused> {
                // A closure, so that `?` does not pass by the note.
                let read = |$row: &mut Row<'de>| -> Result<V::Value, Refused> { $value };
                let value = read(&mut *self);
                self.noted(value)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Row<'de> {
    type Error = Refused;

    by_row! {
        deserialize_any() => |row, visitor| row.field().and_then(|text| visit_inferred(text, visitor));
        deserialize_bool() => |row, visitor| match row.field()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Refused),
        };
        deserialize_i8() => |row, visitor| visitor.visit_i8(signed(&row.number()?)?);
        deserialize_i16() => |row, visitor| visitor.visit_i16(signed(&row.number()?)?);
        deserialize_i32() => |row, visitor| visitor.visit_i32(signed(&row.number()?)?);
        deserialize_i64() => |row, visitor| visitor.visit_i64(signed(&row.number()?)?);
        deserialize_i128() => |row, visitor| visitor.visit_i128(signed(&row.number()?)?);
        deserialize_u8() => |row, visitor| visitor.visit_u8(unsigned(&row.number()?)?);
        deserialize_u16() => |row, visitor| visitor.visit_u16(unsigned(&row.number()?)?);
        deserialize_u32() => |row, visitor| visitor.visit_u32(unsigned(&row.number()?)?);
        deserialize_u64() => |row, visitor| visitor.visit_u64(unsigned(&row.number()?)?);
        deserialize_u128() => |row, visitor| visitor.visit_u128(unsigned(&row.number()?)?);
        deserialize_f32() => |row, visitor| visitor.visit_f32(row.number()?.f32().ok_or(Refused)?);
        deserialize_f64() => |row, visitor| visitor.visit_f64(row.number()?.f64().ok_or(Refused)?);
        deserialize_char() => |row, visitor| {
            let mut chars = row.field()?.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => visitor.visit_char(only),
                _ => Err(Refused),
            }
        };
        deserialize_str() => |row, visitor| visitor.visit_borrowed_str(row.field()?);
        deserialize_string() => |row, visitor| visitor.visit_str(row.field()?);
        deserialize_option() => |row, visitor| match row.skip_if_empty()? {
            true => visitor.visit_none(),
            false => visitor.visit_some(row),
        };
        deserialize_newtype_struct(_name: &'static str) => |row, visitor| visitor.visit_newtype_struct(row);
        deserialize_enum(_name: &'static str, _variants: &'static [&'static str]) => |row, visitor| {
            visitor.visit_enum(StrDeserializer::new(row.field()?))
        };
        deserialize_ignored_any() => |row, visitor| row.field().and_then(|_| visitor.visit_unit());
        // These are the bytes of the field, which may be in another encoding than the text.
        deserialize_bytes() => |_row, _visitor| Err(Refused);
        deserialize_byte_buf() => |_row, _visitor| Err(Refused);
        // These take no field, or several.
        deserialize_unit() => |_row, _visitor| Err(Refused);
        deserialize_unit_struct(_name: &'static str) => |_row, _visitor| Err(Refused);
        deserialize_seq() => |_row, _visitor| Err(Refused);
        deserialize_tuple(_length: usize) => |_row, _visitor| Err(Refused);
        deserialize_tuple_struct(_name: &'static str, _length: usize) => |_row, _visitor| Err(Refused);
        deserialize_map() => |_row, _visitor| Err(Refused);
        deserialize_struct(_name: &'static str, _fields: &'static [&'static str]) => |_row, _visitor| Err(Refused);
        deserialize_identifier() => |_row, _visitor| Err(Refused);
    }
}

#[inline]
fn signed<T: TryFrom<i64>>(number: &Number<'_>) -> Result<T, Refused> {
    T::try_from(number.integer().ok_or(Refused)?).map_err(|_| Refused)
}

#[inline]
fn unsigned<T: TryFrom<u64>>(number: &Number<'_>) -> Result<T, Refused> {
    if number.is_negative() {
        return Err(Refused);
    }
    T::try_from(number.whole().ok_or(Refused)?).map_err(|_| Refused)
}

/// Visits what the text looks like: for types that take anything.
fn visit_inferred<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Refused> {
    match text.as_bytes().first() {
        // Numbers may begin with these, infinities and NaN among them.
        Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'i' | b'I' | b'n' | b'N') => {}
        _ if text == "true" => return visitor.visit_bool(true),
        _ if text == "false" => return visitor.visit_bool(false),
        _ => return visitor.visit_str(text),
    }
    if let Ok(number) = text.parse() {
        visitor.visit_u64(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_i64(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_u128(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_i128(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_f64(number)
    } else {
        visitor.visit_str(text)
    }
}
