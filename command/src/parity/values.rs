//! The values of JSON lines, without a tree of them.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::cell::Cell;
use super::row::{Names, number_text, put};

/// The text of a field of the key.
pub struct KeyText(pub String);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOfScalar;
        impl Visitor<'_> for TextOfScalar {
            type Value = KeyText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number, because rows are matched by it")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<KeyText, E> {
                Ok(KeyText(text.to_owned()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<KeyText, E> {
                Ok(KeyText(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<KeyText, E> {
                Ok(KeyText(number.to_string()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<KeyText, E> {
                Ok(KeyText(number_text(number)))
            }
            fn visit_bool<E: Error>(self, of: bool) -> Result<KeyText, E> {
                Ok(KeyText(of.to_string()))
            }
        }
        deserializer.deserialize_any(TextOfScalar)
    }
}

/// The object `features`.
pub struct CellsSeed<'a>(pub &'a mut Names);

impl<'de> DeserializeSeed<'de> for CellsSeed<'_> {
    type Value = Vec<Cell>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Cell>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CellsSeed<'_> {
    type Value = Vec<Cell>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"features\" to be an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Cell>, A::Error> {
        let mut cells = Vec::with_capacity(self.0.list().len());
        let mut guess = 0;
        while let Some(number) = map.next_key_seed(NameSeed { names: &mut *self.0, guess })? {
            guess += 1;
            let cell = map.next_value()?;
            if number.is_some_and(|number| !put(&mut cells, number, cell)) {
                return Err(A::Error::custom("a feature is there twice"));
            }
        }
        Ok(cells)
    }
}

struct NameSeed<'a> {
    names: &'a mut Names,
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a feature")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.names.number(name, self.guess))
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CellOfValue;
        impl<'de> Visitor<'de> for CellOfValue {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of a feature")
            }
            fn visit_unit<E: Error>(self) -> Result<Cell, E> {
                Ok(Cell::Null)
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Cell, E> {
                Ok(Cell::number(number))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Cell, E> {
                Ok(Cell::integer(number.into()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Cell, E> {
                Ok(Cell::integer(number.into()))
            }
            fn visit_bool<E: Error>(self, of: bool) -> Result<Cell, E> {
                Ok(Cell::integer(of.into()))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Cell, E> {
                Ok(Cell::text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Cell, A::Error> {
                Value::deserialize(SeqAccessDeserializer::new(seq)).map(|value| Cell::json(&value))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
                Value::deserialize(MapAccessDeserializer::new(map)).map(|value| Cell::json(&value))
            }
        }
        deserializer.deserialize_any(CellOfValue)
    }
}
