//! A line as a whole: a sequence of fields, or a map from the names of columns to fields.

use serde::de::value::BorrowedBytesDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::columns::{Columns, Layout};
use super::row::Row;
use crate::plain::refused::{Refused, refuse};

/// What a type asks for its fields.
pub(super) struct Record<'r, 'de> {
    pub(super) row: &'r mut Row<'de>,
    pub(super) layout: &'r Layout<'de>,
    pub(super) starts: &'r [usize],
}

impl<'de> Record<'_, 'de> {
    fn noted<T>(&mut self, result: Result<T, Refused>) -> Result<T, Refused> {
        self.row.noted(result)
    }

    #[inline]
    fn visit_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let Self { row, layout, starts } = self;
        visitor.visit_seq(Fields { row, columns: layout.columns, starts, next: 0 })
    }

    #[inline]
    fn visit_fields<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.layout.columns {
            Columns::ByName => visitor.visit_map(Named { row: self.row, layout: self.layout, next: 0 }),
            Columns::All | Columns::InOrder(_) | Columns::Anywhere(_) => self.visit_seq(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Record<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.visit_fields(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.visit_fields(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.visit_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.visit_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.visit_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    refuse! {
        deserialize_any() deserialize_bool() deserialize_char() deserialize_str() deserialize_string()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_unit_struct(&'static str)
        deserialize_enum(&'static str, &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }
}

struct Fields<'r, 'de> {
    row: &'r mut Row<'de>,
    columns: &'r Columns,
    starts: &'r [usize],
    /// The number of the next field.
    next: usize,
}

impl Fields<'_, '_> {
    /// Goes to the next field, and returns whether there is one.
    #[inline]
    fn advance(&mut self) -> Result<bool, Refused> {
        match self.columns {
            Columns::All | Columns::ByName => {
                if self.row.is_at_end() {
                    return Ok(false);
                }
                self.row.begin_field()?;
            }
            Columns::InOrder(skipped) => {
                let Some(skipped) = skipped.get(self.next) else { return Ok(false) };
                for _ in 0..*skipped {
                    self.row.skip_field()?;
                }
                self.row.begin_field()?;
            }
            Columns::Anywhere(columns) => {
                let Some(column) = columns.get(self.next) else { return Ok(false) };
                self.row.go_to(*self.starts.get(*column).ok_or(Refused)?)?;
            }
        }
        self.next += 1;
        Ok(true)
    }
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        let has_next = self.advance();
        if !self.row.noted(has_next)? {
            return Ok(None);
        }
        // The field has noted what it refused.
        seed.deserialize(&mut *self.row).map(Some)
    }
}

struct Named<'r, 'de> {
    row: &'r mut Row<'de>,
    layout: &'r Layout<'de>,
    /// The number of the next column.
    next: usize,
}

impl<'de> MapAccess<'de> for Named<'_, 'de> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some(name) = self.layout.names.get(self.next) else { return Ok(None) };
        self.next += 1;
        let name = seed.deserialize(BorrowedBytesDeserializer::new(name));
        self.row.noted(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let begun = self.row.begin_field();
        self.row.noted(begun)?;
        seed.deserialize(&mut *self.row)
    }
}
