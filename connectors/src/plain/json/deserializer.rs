//! What a type may ask for, each answered as `serde_json` does.

use std::sync::LazyLock;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::access::{Entries, Items, NameOnly, Variant};
use super::reader::{RAW_VALUE, Reader};
use crate::plain::number::Number;
use crate::plain::refused::Refused;

/// Whether the program was built with the feature `arbitrary_precision` of `serde_json`, which then passes numbers of
/// unknown type to visitors in a form of its own.
static KEEPS_DIGITS: LazyLock<bool> = LazyLock::new(|| {
    let number = serde_json::from_str::<serde_json::Value>("1.50");
    number.is_ok_and(|number| number.to_string().ends_with("50"))
});

/// Defines methods that note the result of a method of the reader.
macro_rules! by_reader {
    ($($method:ident ($($name:ident : $type:ty),*) => |$reader:ident, $visitor:ident| $value:expr;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* $visitor: V) -> Result<V::Value, Refused> {
                // A closure, so that `?` does not pass by the note.
                let read = |$reader: &mut Reader<'de, '_>| -> Result<V::Value, Refused> { $value };
                let value = read(&mut *self);
                self.noted(value)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de, '_> {
    type Error = Refused;

    by_reader! {
        deserialize_any() => |reader, visitor| reader.visit_any(visitor);
        deserialize_bool() => |reader, visitor| match reader.token() {
            b't' => reader.word("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => reader.word("false").and_then(|()| visitor.visit_bool(false)),
            _ => Err(Refused),
        };
        deserialize_i8() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_i16() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_i32() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_i64() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_u8() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_u16() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_u32() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_u64() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_f64() => |reader, visitor| reader.visit_number(visitor, Number::f64);
        deserialize_f32() => |reader, visitor| reader.visit_number(visitor, |number| number.f32().map(f64::from));
        deserialize_i128() => |reader, visitor| reader.visit_i128(visitor);
        deserialize_u128() => |reader, visitor| reader.visit_u128(visitor);
        deserialize_char() => |reader, visitor| reader.visit_text(visitor);
        deserialize_str() => |reader, visitor| reader.visit_text(visitor);
        deserialize_string() => |reader, visitor| reader.visit_text(visitor);
        deserialize_identifier() => |reader, visitor| reader.visit_text(visitor);
        deserialize_bytes() => |reader, visitor| reader.visit_bytes(visitor);
        deserialize_byte_buf() => |reader, visitor| reader.visit_bytes(visitor);
        deserialize_option() => |reader, visitor| match reader.token() {
            b'n' => reader.word("null").and_then(|()| visitor.visit_none()),
            _ => visitor.visit_some(reader),
        };
        deserialize_unit() => |reader, visitor| reader.visit_null(visitor);
        deserialize_unit_struct(_name: &'static str) => |reader, visitor| reader.visit_null(visitor);
        deserialize_newtype_struct(name: &'static str) => |reader, visitor| match name {
            RAW_VALUE => Err(Refused),
            _ => visitor.visit_newtype_struct(reader),
        };
        deserialize_seq() => |reader, visitor| reader.visit_list(visitor);
        deserialize_tuple(_length: usize) => |reader, visitor| reader.visit_list(visitor);
        deserialize_tuple_struct(_name: &'static str, _length: usize) => |reader, visitor| reader.visit_list(visitor);
        deserialize_map() => |reader, visitor| match reader.token() {
            b'{' => reader.visit_map(visitor),
            _ => Err(Refused),
        };
        deserialize_struct(_name: &'static str, _fields: &'static [&'static str]) => |reader, visitor| {
            match reader.token() {
                b'{' => reader.visit_map(visitor),
                b'[' => reader.visit_seq(visitor),
                _ => Err(Refused),
            }
        };
        deserialize_enum(_name: &'static str, _variants: &'static [&'static str]) => |reader, visitor| {
            match reader.token() {
                b'"' => visitor.visit_enum(NameOnly(reader)),
                b'{' => reader.visit_variant(visitor),
                _ => Err(Refused),
            }
        };
        deserialize_ignored_any() => |reader, visitor| reader.skip().and_then(|()| visitor.visit_unit());
    }
}

impl<'de> Reader<'de, '_> {
    #[inline]
    fn visit_map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.enter()?;
        let value = visitor.visit_map(Entries::of(self))?;
        self.leave(b'}')?;
        Ok(value)
    }

    #[inline]
    fn visit_seq<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.enter()?;
        let value = visitor.visit_seq(Items::of(self))?;
        self.leave(b']')?;
        Ok(value)
    }

    fn visit_any<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        match self.token() {
            b'"' => self.visit_string(visitor),
            b'{' => self.visit_map(visitor),
            b'[' => self.visit_seq(visitor),
            b't' => self.word("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => self.word("false").and_then(|()| visitor.visit_bool(false)),
            b'n' => self.word("null").and_then(|()| visitor.visit_unit()),
            _ if *KEEPS_DIGITS => Err(Refused),
            _ => self.visit_number(visitor, Number::f64),
        }
    }

    /// Skips the next value.
    fn skip(&mut self) -> Result<(), Refused> {
        match self.token() {
            b'"' => self.string().map(drop),
            b'{' => {
                self.enter()?;
                let mut entries = Entries::of(self);
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.leave(b'}')
            }
            b'[' => {
                self.enter()?;
                let mut items = Items::of(self);
                while items.next_element::<IgnoredAny>()?.is_some() {}
                self.leave(b']')
            }
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number().map(drop),
        }
    }

    #[inline]
    fn visit_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        match self.token() {
            b'"' => self.visit_string(visitor),
            _ => Err(Refused),
        }
    }

    fn visit_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        match self.token() {
            b'[' => self.visit_seq(visitor),
            b'"' => match self.string()? {
                Some(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
                None => visitor.visit_bytes(self.unescaped().as_bytes()),
            },
            _ => Err(Refused),
        }
    }

    fn visit_i128<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        let number = self.number()?;
        let whole = i128::from(number.whole().ok_or(Refused)?);
        visitor.visit_i128(if number.is_negative() { -whole } else { whole })
    }

    fn visit_u128<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        let number = self.number()?;
        match number.whole() {
            Some(whole) if !number.is_negative() => visitor.visit_u128(whole.into()),
            _ => Err(Refused),
        }
    }

    fn visit_null<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.token();
        self.word("null")?;
        visitor.visit_unit()
    }

    #[inline]
    fn visit_list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        match self.token() {
            b'[' => self.visit_seq(visitor),
            _ => Err(Refused),
        }
    }

    fn visit_variant<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.enter()?;
        let value = visitor.visit_enum(Variant(self))?;
        self.leave(b'}')?;
        Ok(value)
    }
}
