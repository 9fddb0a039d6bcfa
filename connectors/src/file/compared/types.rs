//! Types as programs have them: each asks the deserialiser for something else.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use tidemill_engine::EventTime;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Numbers {
    a: i64,
    b: f64,
    c: u8,
    d: f32,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Wide {
    a: i8,
    b: u128,
    c: i128,
    d: u64,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Texts {
    a: String,
    b: Option<String>,
    c: char,
    #[serde(default)]
    d: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Strict {
    a: Option<f64>,
    b: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[serde(alias = "b")]
    A,
    C(f64),
    D {
        a: u8,
    },
    Pair(i32, String),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Name {
    A,
    B,
    C,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Kinds {
    a: Kind,
    #[serde(alias = "B")]
    b: Option<Kind>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Flat {
    a: EventTime,
    #[serde(flatten)]
    rest: BTreeMap<String, Any>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only shown")]
pub(super) enum Any {
    Bool(bool),
    Number(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
    Null,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "a", rename_all = "lowercase")]
#[expect(dead_code, reason = "only shown")]
pub(super) enum Tagged {
    A { b: f64 },
    B(Texts),
    C,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "a", content = "b")]
#[expect(dead_code, reason = "only shown")]
pub(super) enum Adjacent {
    #[serde(rename = "a")]
    One(f64),
    #[serde(rename = "b")]
    Many(Vec<u8>),
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Nested {
    a: Box<Option<Nested>>,
    b: Vec<Numbers>,
    #[serde(default)]
    c: (f32, Option<u16>),
    #[serde(default)]
    d: IgnoredAny,
}

/// Hides errors, as `serde_with::DefaultOnError` does.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Lenient {
    #[serde(deserialize_with = "or_default")]
    a: f64,
    #[serde(deserialize_with = "or_default", default)]
    b: u8,
    #[serde(default)]
    c: Option<String>,
}

fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::deserialize(deserializer).unwrap_or_default())
}

/// Has a value without reading anything.
#[derive(Debug)]
pub(super) struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// Has a field without reading it.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Unread {
    #[serde(deserialize_with = "seven")]
    a: u8,
    b: Option<String>,
}

fn seven<'de, D: Deserializer<'de>>(_: D) -> Result<u8, D::Error> {
    Ok(7)
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Reordered {
    d: String,
    a: i64,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Gaps {
    b: f64,
    d: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Newtype(Gaps);

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only shown")]
pub(super) struct Bytes {
    a: serde_bytes_like::Buffer,
    b: (),
}

/// Asks for bytes, as the crate `serde_bytes` does.
pub(super) mod serde_bytes_like {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

    #[derive(Debug)]
    pub(in super::super) struct Buffer(#[expect(dead_code, reason = "only shown")] Vec<u8>);

    impl<'de> Deserialize<'de> for Buffer {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_bytes(BufferVisitor)
        }
    }

    struct BufferVisitor;

    impl<'de> Visitor<'de> for BufferVisitor {
        type Value = Buffer;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Buffer, E> {
            Ok(Buffer(bytes.to_vec()))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Buffer, A::Error> {
            // The rest of the items is not read.
            Ok(Buffer(items.next_element()?.into_iter().collect()))
        }
    }
}

/// Expands a macro for each type that both formats have.
macro_rules! for_each_type {
    ($of:ident!($($arg:expr),*)) => {{
        use crate::file::compared::types::*;
        $of!(Numbers, $($arg),*);
        $of!(Wide, $($arg),*);
        $of!(Texts, $($arg),*);
        $of!(Strict, $($arg),*);
        $of!(Kinds, $($arg),*);
        $of!(Kind, $($arg),*);
        $of!(Flat, $($arg),*);
        $of!(Any, $($arg),*);
        $of!(Tagged, $($arg),*);
        $of!(Adjacent, $($arg),*);
        $of!(Lenient, $($arg),*);
        $of!(Reordered, $($arg),*);
        $of!(Unread, $($arg),*);
        $of!(Nothing, $($arg),*);
        $of!(Gaps, $($arg),*);
        $of!(Newtype, $($arg),*);
        $of!(Bytes, $($arg),*);
        $of!(serde_json::Value, $($arg),*);
        $of!(std::collections::BTreeMap<u64, f64>, $($arg),*);
        $of!(std::collections::BTreeMap<String, Option<f32>>, $($arg),*);
        $of!(std::collections::BTreeMap<Name, serde::de::IgnoredAny>, $($arg),*);
        $of!((String, f64, f32, i32), $($arg),*);
        $of!(Vec<Any>, $($arg),*);
        $of!(serde::de::IgnoredAny, $($arg),*);
        $of!(f64, $($arg),*);
        $of!(f32, $($arg),*);
        $of!(Option<String>, $($arg),*);
        $of!((), $($arg),*);
    }};
}
pub(super) use for_each_type;
