//! Finds out which kind of value a field of the record's type asks its format for, from the type's `Deserialize` and
//! before the first record.
//!
//! The type is given a record with only the field in question, nested as deep as the field is, so that neither other
//! fields nor values affect the answer.

use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

/// A step from a record towards a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    /// Any element of a list.
    Item,
}

/// The kind of value that a field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    EventTime,
    /// A number, or any value (`deserialize_any`).
    Number,
    /// Text, and whether the field accepts the sample: an error says why not.
    Text(Result<(), String>),
}

/// Returns what the field at `path` asks for; a field that asks for text is given `sample`. `None` if `L` has no such
/// field, or the field asks for something else.
pub(super) fn asked<L: DeserializeOwned>(path: &[Step], sample: &str) -> Option<Asked> {
    let mut asked = None;
    // The result is usually an error, because other fields are missing. Only what the field asked for matters.
    drop(L::deserialize(Probe { path, sample, asked: &mut asked }));
    asked
}

struct Probe<'a> {
    path: &'a [Step],
    sample: &'a str,
    asked: &'a mut Option<Asked>,
}

impl Probe<'_> {
    fn answer<T>(self, asked: Asked) -> Result<T, Error> {
        if self.path.is_empty() {
            *self.asked = Some(asked);
        }
        Err(Error::custom("only asking"))
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if !self.path.is_empty() {
            return Err(Error::custom("only asking"));
        }
        *self.asked = Some(Asked::Text(Ok(())));
        visitor.visit_str(self.sample)
    }

    fn into_field<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.path {
            [Step::Field(_), ..] => visitor.visit_map(One { probe: Some(self), key: true }),
            [Step::Item, ..] => visitor.visit_seq(One { probe: Some(self), key: false }),
            [] => self.answer(Asked::Number),
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            self.answer(Asked::Number)
        })*
    };
}

macro_rules! texts {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.text(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    texts! { deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.into_field(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.into_field(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.into_field(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.into_field(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == "EventTime" && self.path.is_empty() {
            return self.answer(Asked::EventTime);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { identifier enum }

    fn deserialize_bool<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only asking"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only asking"))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only asking"))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.into_field(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.into_field(visitor)
    }
}

/// A record or a list with one value.
struct One<'a> {
    probe: Option<Probe<'a>>,
    /// Whether the name of the field has not been read yet.
    key: bool,
}

impl One<'_> {
    fn value<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Some(Probe { path, sample, asked }) = self.probe.take() else { return Err(Error::custom("only asking")) };
        let value = seed.deserialize(Probe { path: path.get(1..).unwrap_or_default(), sample, asked: &mut *asked });
        // A field that asks for text may refuse this text, even after its visitor has taken it.
        if let (Err(error), Some(Asked::Text(taken)), [_]) = (&value, asked, path) {
            *taken = Err(error.to_string());
        }
        value
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        match &self.probe {
            Some(Probe { path: [Step::Field(name), ..], .. }) if std::mem::take(&mut self.key) => {
                let name: serde::de::value::StrDeserializer<'_, Error> = name.as_str().into_deserializer();
                seed.deserialize(name).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.value(seed)
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.probe.is_some() { self.value(seed).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use tidemill_engine::EventTime;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only asked")]
    struct Inner {
        at: EventTime,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only asked")]
    struct Row {
        at: EventTime,
        maybe: Option<EventTime>,
        raw: i64,
        maybe_raw: Option<u32>,
        text: String,
        #[serde(deserialize_with = "parsed")]
        parsed: u32,
        inner: Inner,
        list: Vec<Inner>,
        any: serde_json::Value,
        flag: bool,
    }

    fn parsed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    #[test]
    fn each_field_says_what_it_asks_for_whatever_the_others_do() {
        let of = |path: &[&str], sample: &str| {
            let step = |name: &&str| if *name == "[]" { Step::Item } else { Step::Field((*name).to_owned()) };
            asked::<Row>(&path.iter().map(step).collect::<Vec<_>>(), sample)
        };
        for path in [&["at"][..], &["maybe"], &["inner", "at"], &["list", "[]", "at"]] {
            assert_eq!(of(path, "x"), Some(Asked::EventTime), "{path:?}");
        }
        for path in ["raw", "maybe_raw", "any"] {
            assert_eq!(of(&[path], "x"), Some(Asked::Number), "{path}");
        }
        assert_eq!(of(&["text"], "x"), Some(Asked::Text(Ok(()))));
        assert_eq!(of(&["parsed"], "17"), Some(Asked::Text(Ok(()))));
        assert!(matches!(of(&["parsed"], "x"), Some(Asked::Text(Err(error))) if error.contains("invalid digit")));
        assert_eq!((of(&["flag"], "x"), of(&["not-there"], "x")), (None, None));
        let in_map = asked::<BTreeMap<String, String>>(&[Step::Field("k".to_owned())], "x");
        assert_eq!(in_map, Some(Asked::Text(Ok(()))));
    }
}
