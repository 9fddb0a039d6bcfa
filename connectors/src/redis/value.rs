//! Values of Redis become rows: JSON, or a hash whose fields are texts, and JSON where they are nested.

use redis::Value;
use serde::de::value::{BorrowedStrDeserializer, MapDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::Error;

/// Returns the row that a string is as JSON.
pub(super) fn json<V: DeserializeOwned>(value: Value) -> Result<Option<V>, String> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| e.to_string()),
        other => Err(format!("{other:?}")),
    }
}

/// Returns the row whose fields are those of a hash.
pub(super) fn hash<V: DeserializeOwned>(value: Value) -> Result<Option<V>, String> {
    let Value::Array(parts) = value else { return Err(format!("{value:?}")) };
    let texts: Option<Vec<&[u8]>> = parts.iter().map(bytes).collect();
    let texts = texts.ok_or("it is no hash of texts")?;
    let (pairs, rest) = texts.as_chunks::<2>();
    match (pairs, rest) {
        ([], []) => Ok(None),
        (pairs, []) => row(pairs.iter().map(|[name, value]| (*name, *value))).map(Some),
        _ => Err("it is no hash".to_owned()),
    }
}

/// Returns the row that has these fields.
pub(super) fn row<'a, V: DeserializeOwned>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<V, String> {
    let named = fields.map(|(name, value)| {
        let text = std::str::from_utf8(name).map_err(|e| e.to_string())?;
        Ok((text, Stored { name, value }))
    });
    let named: Vec<(&str, Stored<'_>)> = named.collect::<Result<_, String>>()?;
    V::deserialize(MapDeserializer::<_, Error>::new(named.into_iter())).map_err(|e| e.to_string())
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// The value of a field.
#[derive(Clone, Copy)]
struct Stored<'de> {
    name: &'de [u8],
    value: &'de [u8],
}

impl<'de> Stored<'de> {
    fn wrong(self, reason: impl std::fmt::Display) -> Error {
        let (name, value) = (String::from_utf8_lossy(self.name), String::from_utf8_lossy(self.value));
        de::Error::custom(format!("field \"{name}\" is \"{value}\" ({reason})"))
    }

    fn text(self) -> Result<&'de str, Error> {
        std::str::from_utf8(self.value).map_err(|e| self.wrong(e))
    }
}

impl<'de> IntoDeserializer<'de, Error> for Stored<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! texts {
    ($($method:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_borrowed_str(self.text()?)
        })*
    };
}

macro_rules! as_json {
    ($($method:ident($($name:ident: $type:ty),*),)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Error> {
            let mut json = serde_json::Deserializer::from_slice(self.value);
            let value = (&mut json).$method($($name,)* visitor).map_err(|e| self.wrong(e))?;
            json.end().map_err(|e| self.wrong(e))?;
            Ok(value)
        })*
    };
}

impl<'de> Deserializer<'de> for Stored<'de> {
    type Error = Error;

    texts! { deserialize_char, deserialize_str, deserialize_string, deserialize_identifier, }

    as_json! {
        deserialize_bool(), deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(), deserialize_i128(),
        deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128(), deserialize_seq(),
        deserialize_map(), deserialize_tuple(len: usize), deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match serde_json::from_slice::<serde_json::Value>(self.value) {
            Ok(value) => value.deserialize_any(visitor),
            Err(_) => visitor.visit_borrowed_str(self.text()?),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f32(self.text()?.parse().map_err(|e| self.wrong(e))?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.text()?.parse().map_err(|e| self.wrong(e))?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.value)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.value.starts_with(b"{") {
            let mut json = serde_json::Deserializer::from_slice(self.value);
            return json.deserialize_enum(name, variants, visitor).map_err(|e| self.wrong(e));
        }
        let variant = BorrowedStrDeserializer::<Error>::new(self.text()?);
        variant.deserialize_enum(name, variants, visitor).map_err(|e| self.wrong(e))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::text::fields;
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Card {
        id: u64,
        name: String,
        limit: Option<f64>,
        blocked: bool,
        tags: Vec<String>,
        kind: Kind,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Debit,
        Credit { days: u8 },
    }

    fn stored(pairs: &[(&str, &str)]) -> Value {
        let texts = pairs.iter().flat_map(|(name, value)| [*name, *value]);
        Value::Array(texts.map(|text| Value::BulkString(text.as_bytes().to_vec())).collect())
    }

    #[test]
    fn what_the_sink_writes_is_read_as_it_was() {
        for (limit, kind) in [(Some(1e300), Kind::Debit), (None, Kind::Credit { days: 30 })] {
            let card = Card {
                id: u64::MAX,
                name: "true".to_owned(),
                limit,
                blocked: true,
                tags: vec!["a\"".to_owned()],
                kind,
            };
            let written = fields(&card, |_| true).unwrap();
            let pairs = written.into_iter().filter_map(|field| Some([field.name.as_bytes().to_vec(), field.value?]));
            let value = Value::Array(pairs.flatten().map(Value::BulkString).collect());
            assert_eq!(hash::<Card>(value).unwrap(), Some(card));
        }
        assert_eq!(hash::<Card>(Value::Array(Vec::new())).unwrap(), None);
        assert_eq!(json::<Kind>(Value::Nil).unwrap(), None);
        assert_eq!(json::<Kind>(Value::BulkString(b"\"Debit\"".to_vec())).unwrap(), Some(Kind::Debit));
    }

    #[test]
    fn a_field_that_does_not_fit_is_named_with_its_value() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it is never read")]
        struct Small {
            a: u8,
            b: Option<f32>,
        }
        for (pairs, says) in [
            (vec![("a", "256")], "field \"a\" is \"256\""),
            (vec![("a", "12x")], "field \"a\" is \"12x\""),
            (vec![("a", "")], "field \"a\" is \"\""),
            (vec![("b", "1")], "missing field `a`"),
            (vec![("a", "1"), ("b", "x")], "field \"b\" is \"x\""),
        ] {
            let error = hash::<Small>(stored(&pairs)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(hash::<Small>(stored(&[("a", "1"), ("c", "x")])).unwrap().is_some());
        assert!(json::<u8>(Value::BulkString(b"x".to_vec())).is_err());
    }
}
