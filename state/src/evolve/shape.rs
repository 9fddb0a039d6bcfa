//! The shape of a type as it is stored, for manifests: bincode writes no names and no types, so bytes of another type
//! may be read as garbage. A shape lists what the type's `Deserialize` asks for, in order.
//!
//! ```text
//! {count: u64, best: option(i64)}    struct          [string]  [u8; 16]    list, array
//! <Card | Transfer{iban: string}>    enum            map(u8, u64)          map
//! (u64, f32)                         tuple           ?                     not known
//! ```
//! A shape has no names of structs and enums, because the old type is usually renamed when a new one takes its place. A
//! newtype has the shape of the type that it wraps.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::probe;

/// The shape of a stored type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(String);

impl Shape {
    /// Returns the shape of `T`. Parts of it are unknown if their `Deserialize` is not derived and refuses invented
    /// values.
    #[must_use]
    pub fn of<T: DeserializeOwned>() -> Self {
        Self(probe::probe::<T>())
    }

    /// Returns whether bytes that were written with this shape are read correctly with the `other` one: the shapes are
    /// the same, except that enums may have more variants at their ends in the other. An unknown part of either fits
    /// everything.
    #[must_use]
    pub fn is_read_by(&self, other: &Self) -> bool {
        fits(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The layout of a state's rows, as manifests store it: bytes that were written with another layout would be read as
/// garbage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Shape of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Shape>,
    /// Shape of the value, of each element of a list, or of each pending record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Shape>,
    /// Shape of the header of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Shape>,
    /// The clock by which values expire; `None` if they do not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

impl Layout {
    /// Returns the first difference between rows of this layout and rows as `now` reads them: both sides as text, or
    /// `None` if `now` reads the rows correctly.
    pub(super) fn difference(&self, now: &Self) -> Option<(String, String)> {
        let parts = [
            ("keys", &self.key, &now.key),
            ("values", &self.value, &now.value),
            ("headers", &self.header, &now.header),
        ];
        for (what, stored, known) in parts {
            if let (Some(stored), Some(known)) = (stored, known)
                && !stored.is_read_by(known)
            {
                return Some((format!("{what} {stored}"), format!("{what} {known}")));
            }
        }
        let lives =
            |ttl: &Option<String>| ttl.as_ref().map_or("no TTL".to_owned(), |clock| format!("a TTL by {clock}"));
        (self.ttl != now.ttl).then(|| (lives(&self.ttl), lives(&now.ttl)))
    }
}

const VARIANTS: &[u8] = b" | ";

fn fits(mut old: &[u8], mut new: &[u8]) -> bool {
    loop {
        match (old, new) {
            ([], []) => return true,
            ([b'?', ..], _) | (_, [b'?', ..]) => (old, new) = (skip(old, false), skip(new, false)),
            ([b'>', ..], _) if new.starts_with(VARIANTS) => new = skip(new, true),
            ([a, old_rest @ ..], [b, new_rest @ ..]) if a == b => (old, new) = (old_rest, new_rest),
            _ => return false,
        }
    }
}

/// Returns the rest of a shape after the part that begins here. With `to_end_of_enum` the part extends to the end of
/// the enum it is in.
fn skip(shape: &[u8], to_end_of_enum: bool) -> &[u8] {
    let mut depth = 0;
    for (at, byte) in shape.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b'>' if to_end_of_enum && depth == 0 => return &shape[at..],
            b')' | b']' | b'}' | b'>' if depth == 0 => return &shape[at..],
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' | b' ' | b';' if depth == 0 && !to_end_of_enum => return &shape[at..],
            _ => {}
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::num::NonZeroU32;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Inner(u64);

    #[derive(Serialize, Deserialize)]
    struct Outer {
        count: Inner,
        best: Option<f32>,
        names: Vec<String>,
        by: BTreeMap<u8, (i16, char)>,
        kind: Kind,
        #[serde(skip)]
        _left_out: u8,
    }

    #[derive(Serialize, Deserialize)]
    enum Kind {
        Plain,
        One(u8),
        Two(u8, Nested),
        Named { nested: Nested, more: bool },
    }

    #[derive(Serialize, Deserialize)]
    enum Nested {
        A,
        B(NonZeroU32),
    }

    #[derive(Serialize, Deserialize)]
    struct Chain {
        value: u8,
        next: Option<Box<Chain>>,
    }

    #[derive(Serialize, Deserialize)]
    enum Tree {
        Leaf(u8),
        Node(Box<Tree>, Box<Tree>),
    }

    /// A type that accepts only the value it wrote.
    #[derive(Serialize)]
    struct Picky(u64);

    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = u64::deserialize(deserializer)?;
            if value == 77 { Ok(Self(value)) } else { Err(serde::de::Error::custom("not 77")) }
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Around {
        before: u8,
        picky: Picky,
        after: u16,
    }

    fn shape<T: DeserializeOwned>() -> String {
        Shape::of::<T>().to_string()
    }

    #[test]
    fn a_shape_says_what_is_stored() {
        assert_eq!(shape::<u64>(), "u64");
        assert_eq!(shape::<()>(), "()");
        assert_eq!(shape::<(u8, String)>(), "(u8, string)");
        assert_eq!(shape::<[u8; 16]>(), "[u8; 16]");
        assert_eq!(shape::<HashMap<String, Vec<i64>>>(), "map(string, [i64])");
        assert_eq!(shape::<Result<u8, i128>>(), "<Ok(u8) | Err(i128)>");
        assert_eq!(
            shape::<Outer>(),
            "{count: u64, best: option(f32), names: [string], by: map(u8, (i16, char)), \
             kind: <Plain | One(u8) | Two(u8, <A | B(u32)>) | Named{nested: <A | B(u32)>, more: bool}>}"
        );
    }

    #[test]
    fn what_cannot_be_known_is_left_open_and_ends() {
        assert_eq!(shape::<Around>(), "{before: u8, picky: u64, after: ?}");
        assert_eq!(shape::<serde_json::Value>(), "?");
        assert!(shape::<Chain>().starts_with("{value: u8, next: option({value: u8, next: option("));
        assert!(shape::<Chain>().contains('?'));
        assert!(shape::<Tree>().starts_with("<Leaf(u8) | Node(<Leaf(u8) | Node("));
    }

    #[test]
    fn the_same_shape_is_read_and_another_is_not() {
        let reads = |old: &str, new: &str| Shape(old.to_owned()).is_read_by(&Shape(new.to_owned()));
        assert!(Shape::of::<Outer>().is_read_by(&Shape::of::<Outer>()));
        for (old, new) in [
            ("u64", "u32"),
            ("{a: u64}", "{a: u64, b: u64}"),
            ("{a: u64, b: u64}", "{a: u64}"),
            ("{a: u64, b: u64}", "{b: u64, a: u64}"),
            ("(u64)", "u64"),
            ("[u8; 4]", "[u8; 16]"),
            ("<A | B>", "<A>"),
            ("<A | B>", "<B | A>"),
            ("<A | B>", "<A | New | B>"),
            ("<A | B>", "<A | B(u8)>"),
            ("<A | B>", "<A | Bc>"),
            ("{a: ?, b: u8}", "{a: u64, b: u16}"),
            ("u64", ""),
        ] {
            assert!(!reads(old, new), "{old} as {new}");
        }
        for (old, new) in [
            ("<A | B>", "<A | B | C{x: <D | E>} | F>"),
            ("{k: <A>, n: [<B(u8)>]}", "{k: <A | Z>, n: [<B(u8) | Z(map(u8, (u8, u8)))>]}"),
            ("{a: ?, b: u8}", "{a: {x: (u64, i8), y: <A | B>}, b: u8}"),
            ("{a: [?; 4], b: u8}", "{a: [u64; 4], b: u8}"),
            ("<A | B? | C>", "<A | B(u64) | C>"),
            ("option(u8)", "?"),
            ("?", "?"),
        ] {
            assert!(reads(old, new), "{old} as {new}");
        }
    }

    #[test]
    fn a_panic_in_a_users_code_is_no_panic_here() {
        #[derive(Debug)]
        struct Panics;
        impl<'de> Deserialize<'de> for Panics {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                panic!("was given {}", u64::deserialize(deserializer)?)
            }
        }
        assert_eq!(shape::<(u8, Panics, u8)>(), "(u8, u64, ?)");
    }
}
