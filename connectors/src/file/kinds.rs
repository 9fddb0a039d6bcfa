//! Finds out which columns the records of a type have, from the type's `Deserialize` and before the first record.
//!
//! The type is given a made-up record, and each field says what it asks for. A field that refuses a made-up value, such as a
//! text that has to be an address, has no column.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_arrow::schema::{STRATEGY_KEY, Strategy};

/// How deep a type may be. One that contains itself would have no end.
const DEPTH: usize = 32;

/// Returns the columns of a type, and a made-up record.
///
/// # Errors
/// Returns the field that has none, and why.
pub(super) fn columns<T: DeserializeOwned>() -> Result<(Vec<FieldRef>, T), String> {
    // Of an enum, one variant is looked at each time.
    let (mut round, most) = (0, Cell::new(0));
    loop {
        let mut found = Found::default();
        let made = T::deserialize(Tracer { found: &mut found, depth: 0, rounds: Rounds { round, most: &most } });
        let made = made.map_err(|error| match error.to_string() {
            // An alias is one more name of a field, and only one of them is written.
            twice if twice.contains("duplicate field") => format!("{twice}: a field with an alias has no column"),
            other => other,
        })?;
        round += 1;
        if round < most.get() {
            continue;
        }
        return match found.kind {
            Some(DataType::Struct(fields)) if !fields.is_empty() => Ok((fields.to_vec(), made)),
            _ => Err("it is not a struct with fields".to_owned()),
        };
    }
}

/// Which variant of each enum is looked at.
#[derive(Clone, Copy)]
struct Rounds<'a> {
    round: usize,
    /// The largest number of variants that an enum has.
    most: &'a Cell<usize>,
}

/// What a field asked for.
#[derive(Default)]
struct Found {
    kind: Option<DataType>,
    nullable: bool,
    is_tuple: bool,
}

impl Found {
    fn field(self, name: &str) -> Result<Field, Error> {
        let kind = self.kind.ok_or_else(|| Error::custom(format!("\"{name}\" asks for nothing")))?;
        let strategy = self.is_tuple.then(|| (STRATEGY_KEY.to_owned(), Strategy::TupleAsStruct.to_string()));
        let field = Field::new(name, kind, self.nullable);
        Ok(field.with_metadata(strategy.into_iter().collect::<HashMap<_, _>>()))
    }
}

struct Tracer<'a> {
    found: &'a mut Found,
    depth: usize,
    rounds: Rounds<'a>,
}

impl Tracer<'_> {
    fn refuse<T>(what: &str) -> Result<T, Error> {
        Err(Error::custom(format!("{what} has no column")))
    }

    fn is(&mut self, kind: DataType) {
        self.found.kind = Some(kind);
    }

    fn members<'de, V: Visitor<'de>>(self, names: Names, visitor: V) -> Result<V::Value, Error> {
        if self.depth == DEPTH {
            return Self::refuse("a type that is this deep, or contains itself,");
        }
        let is_tuple = matches!(names, Names::Counted(_));
        let mut members = Members { names, next: 0, fields: Vec::new(), depth: self.depth + 1, rounds: self.rounds };
        let value = if is_tuple { visitor.visit_seq(&mut members) } else { visitor.visit_map(&mut members) }?;
        self.found.kind = Some(DataType::Struct(members.fields.into()));
        self.found.is_tuple = is_tuple;
        Ok(value)
    }
}

macro_rules! values {
    ($($method:ident $visit:ident $value:expr, $kind:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            self.is(DataType::$kind);
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Error;

    // Integers are 1, since some types have no zero.
    values! {
        deserialize_bool visit_bool false, Boolean;
        deserialize_i8 visit_i8 1, Int8;
        deserialize_i16 visit_i16 1, Int16;
        deserialize_i32 visit_i32 1, Int32;
        deserialize_i64 visit_i64 1, Int64;
        deserialize_u8 visit_u8 1, UInt8;
        deserialize_u16 visit_u16 1, UInt16;
        deserialize_u32 visit_u32 1, UInt32;
        deserialize_u64 visit_u64 1, UInt64;
        deserialize_f32 visit_f32 0.0, Float32;
        deserialize_f64 visit_f64 0.0, Float64;
        deserialize_char visit_char 'a', Utf8;
        deserialize_str visit_borrowed_str "", Utf8;
        deserialize_string visit_borrowed_str "", Utf8;
        deserialize_bytes visit_borrowed_bytes &[], Binary;
        deserialize_byte_buf visit_borrowed_bytes &[], Binary;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Self::refuse("a value of any kind")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.found.nullable = true;
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut item = Some((Found::default(), self.depth + 1));
        if self.depth == DEPTH {
            return Self::refuse("a type that is this deep, or contains itself,");
        }
        let mut list = Item { item: &mut item, is_read: false, rounds: self.rounds };
        let value = visitor.visit_seq(&mut list)?;
        let (found, _) = item.ok_or_else(|| Error::custom("a list"))?;
        self.found.kind = Some(DataType::List(Arc::new(found.field("element")?)));
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.members(Names::Counted(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.members(Names::Counted(len), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.members(Names::Named(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Rounds { round, most } = self.rounds;
        most.set(most.get().max(variants.len()));
        let Some(variant) = variants.get(round).or(variants.last()) else { return Self::refuse(name) };
        self.is(DataType::Utf8);
        visitor.visit_enum(Variant { of: name, name: variant })
    }

    fn deserialize_i128<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Self::refuse("an integer of 128 bits")
    }

    fn deserialize_u128<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Self::refuse("an integer of 128 bits")
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Self::refuse("a unit")
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, Error> {
        Self::refuse(name)
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Self::refuse("a map")
    }

    serde::forward_to_deserialize_any! { identifier ignored_any }
}

/// The members of a struct or a tuple.
enum Names {
    Named(&'static [&'static str]),
    Counted(usize),
}

struct Members<'a> {
    names: Names,
    next: usize,
    fields: Vec<FieldRef>,
    depth: usize,
    rounds: Rounds<'a>,
}

impl Members<'_> {
    fn member<'de, S: DeserializeSeed<'de>>(&mut self, name: &str, seed: S) -> Result<S::Value, Error> {
        let mut found = Found::default();
        let value = seed
            .deserialize(Tracer { found: &mut found, depth: self.depth, rounds: self.rounds })
            .map_err(|error| Error::custom(format!("{name}: {error}")))?;
        self.fields.push(Arc::new(found.field(name)?));
        self.next += 1;
        Ok(value)
    }
}

impl<'de> MapAccess<'de> for &mut Members<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Names::Named(names) = self.names else { return Ok(None) };
        let name: Option<serde::de::value::StrDeserializer<'_, Error>> =
            names.get(self.next).map(|name| (*name).into_deserializer());
        name.map(|name| seed.deserialize(name)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Names::Named(names) = self.names else { return Err(Error::custom("a tuple has no names")) };
        self.member(names.get(self.next).copied().unwrap_or_default(), seed)
    }
}

impl<'de> SeqAccess<'de> for &mut Members<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let is_over = matches!(self.names, Names::Counted(len) if self.next >= len);
        if is_over { Ok(None) } else { self.member(&self.next.to_string(), seed).map(Some) }
    }
}

/// A list of one item.
struct Item<'a> {
    item: &'a mut Option<(Found, usize)>,
    is_read: bool,
    rounds: Rounds<'a>,
}

impl<'de> SeqAccess<'de> for &mut Item<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((found, depth)) = self.item.as_mut().filter(|_| !self.is_read) else { return Ok(None) };
        self.is_read = true;
        seed.deserialize(Tracer { found, depth: *depth, rounds: self.rounds }).map(Some)
    }
}

/// A variant of an enum.
struct Variant {
    of: &'static str,
    name: &'static str,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: serde::de::value::StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant {
    fn refuse<T>(&self) -> Result<T, Error> {
        Tracer::refuse(&format!("the enum {}, which has data,", self.of))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Error> {
        self.refuse()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        self.refuse()
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        self.refuse()
    }
}
