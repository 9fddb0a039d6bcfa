//! The parts of JSON's containers: items of lists, entries of objects, variants of enums.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::reader::{RAW_VALUE, Reader};
use crate::plain::refused::{Refused, refuse};

pub(super) struct Items<'r, 'de, 's> {
    reader: &'r mut Reader<'de, 's>,
    is_first: bool,
}

impl<'r, 'de, 's> Items<'r, 'de, 's> {
    pub(super) fn of(reader: &'r mut Reader<'de, 's>) -> Self {
        Self { reader, is_first: true }
    }

    /// Goes to the next item and returns whether there is one. Its first byte is not looked at: a `]` is no value.
    #[inline]
    fn advance(&mut self) -> Result<bool, Refused> {
        match self.reader.token() {
            b']' => return Ok(false),
            _ if self.is_first => self.is_first = false,
            b',' => self.reader.skip_byte(),
            _ => return Err(Refused),
        }
        Ok(true)
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de, '_> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        let has_next = self.advance();
        if !self.reader.noted(has_next)? {
            return Ok(None);
        }
        // The reader has noted what it refused, here and below.
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

pub(super) struct Entries<'r, 'de, 's> {
    reader: &'r mut Reader<'de, 's>,
    is_first: bool,
}

impl<'r, 'de, 's> Entries<'r, 'de, 's> {
    pub(super) fn of(reader: &'r mut Reader<'de, 's>) -> Self {
        Self { reader, is_first: true }
    }

    /// Goes to the next key and returns whether there is one.
    #[inline]
    fn advance(&mut self) -> Result<bool, Refused> {
        match self.reader.token() {
            b'}' => return Ok(false),
            _ if self.is_first => self.is_first = false,
            b',' => self.reader.skip_byte(),
            _ => return Err(Refused),
        }
        if self.reader.token() == b'"' { Ok(true) } else { Err(Refused) }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de, '_> {
    type Error = Refused;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let has_next = self.advance();
        if !self.reader.noted(has_next)? {
            return Ok(None);
        }
        seed.deserialize(Key(self.reader)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let colon = self.reader.expect(b':');
        self.reader.noted(colon)?;
        seed.deserialize(&mut *self.reader)
    }
}

/// A key, whose first quote is next.
struct Key<'r, 'de, 's>(&'r mut Reader<'de, 's>);

impl Key<'_, '_, '_> {
    fn noted<T>(&mut self, result: Result<T, Refused>) -> Result<T, Refused> {
        self.0.noted(result)
    }
}

impl<'de> Deserializer<'de> for Key<'_, 'de, '_> {
    type Error = Refused;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let key = self.0.visit_string(visitor);
        self.0.noted(key)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refused> {
        if name == RAW_VALUE {
            return self.0.noted(Err(Refused));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }

    refuse! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_bytes() deserialize_byte_buf()
    }
}

/// A variant that is an object with one entry: its name and its content.
pub(super) struct Variant<'r, 'de, 's>(pub(super) &'r mut Reader<'de, 's>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de, '_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refused> {
        if self.0.token() != b'"' {
            return self.0.noted(Err(Refused));
        }
        let name = seed.deserialize(Key(&mut *self.0))?;
        let colon = self.0.expect(b':');
        self.0.noted(colon)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de, '_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        serde::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refused> {
        self.0.deserialize_struct("", fields, visitor)
    }
}

/// A variant that is only its name.
pub(super) struct NameOnly<'r, 'de, 's>(pub(super) &'r mut Reader<'de, 's>);

impl<'de> EnumAccess<'de> for NameOnly<'_, 'de, '_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refused> {
        Ok((seed.deserialize(&mut *self.0)?, self))
    }
}

impl<'de> VariantAccess<'de> for NameOnly<'_, 'de, '_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Refused> {
        self.0.noted(Err(Refused))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Refused> {
        self.0.noted(Err(Refused))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Refused> {
        self.0.noted(Err(Refused))
    }
}
