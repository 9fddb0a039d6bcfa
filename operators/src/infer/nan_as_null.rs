//! Serialization of floats that keeps NaN and infinities readable in JSON. Use it as
//! `#[serde(with = "tidemill::nan_as_null")]` on fields of type `f64`, `f32`, `Option<f64>` or `Option<f32>`.
//!
//! JSON has neither NaN nor infinities: serde_json writes both as `null`, and cannot read `null` as a number. With
//! this module a NaN is written as `null`, `null` is read as NaN (for an option: as none), and infinities are the texts
//! `"Infinity"` and `"-Infinity"`. Formats that can represent them (state, messages between workers, Parquet, CSV)
//! store them unchanged.
//!
//! ```
//! # use tidemill_operators::infer::nan_as_null;
//! # mod tidemill { pub use tidemill_operators::infer::nan_as_null; }
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Reading {
//!     #[serde(with = "nan_as_null")] // tidemill::nan_as_null
//!     celsius: f64,
//! }
//! # fn main() -> Result<(), serde_json::Error> {
//! let text = serde_json::to_string(&Reading { celsius: f64::NAN })?;
//! assert_eq!(text, r#"{"celsius":null}"#);
//! assert!(serde_json::from_str::<Reading>(&text)?.celsius.is_nan());
//! # Ok(())
//! # }
//! ```
//! An optional field that may also be absent needs `#[serde(default, with = "…")]`.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Serializes a float; for `#[serde(with)]`.
///
/// # Errors
/// Returns the errors of the serializer.
pub fn serialize<T: Float, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    Number(*value).serialize(serializer)
}

/// Deserializes a float; for `#[serde(with)]`.
///
/// # Errors
/// Returns the errors of the deserializer, and fails where the value is not a number.
pub fn deserialize<'de, T: Float, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Number::deserialize(deserializer).map(|Number(value)| value)
}

/// A number that is serialized as this module describes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<T>(pub T);

/// A type that this module can serialize: a float, or an optional float.
pub trait Float: Copy + private::Sealed {
    #[doc(hidden)]
    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error>;
    #[doc(hidden)]
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

mod private {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for f32 {}
    impl<T: Sealed> Sealed for Option<T> {}
}

impl<T: Float> Serialize for Number<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl<'de, T: Float> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Number)
    }
}

macro_rules! float {
    ($float:ident) => {
        impl Float for $float {
            fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
                if self.is_infinite() && serializer.is_human_readable() {
                    return serializer.serialize_str(if self > 0.0 { "Infinity" } else { "-Infinity" });
                }
                self.serialize(serializer)
            }

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return Self::deserialize(deserializer);
                }
                // Reading it as an f64 first still yields the nearest value: the written number has few enough digits.
                deserializer.deserialize_any(AsWritten).map(|value| value as $float)
            }
        }
    };
}
float!(f64);
float!(f32);

impl<T: Float + Serialize> Float for Option<T> {
    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        self.map(Number).serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(|Number(value)| value))
    }
}

/// A visitor that accepts a number, null, or a number written as text.
struct AsWritten;

impl<'de> Visitor<'de> for AsWritten {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_unit<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }

    fn visit_none<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        text.trim().parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct All {
        #[serde(with = "super")]
        a: f64,
        #[serde(with = "super")]
        b: f32,
        #[serde(default, with = "super")]
        c: Option<f64>,
    }

    #[test]
    fn infinities_and_nan_are_written_to_json_and_read_back() {
        let all = All { a: f64::NEG_INFINITY, b: f32::NAN, c: Some(f64::INFINITY) };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"{"a":"-Infinity","b":null,"c":"Infinity"}"#);
        let All { a, b, c } = serde_json::from_str(&text).unwrap();
        assert!(a == f64::NEG_INFINITY && b.is_nan() && c == Some(f64::INFINITY));
        let All { a, b, c } = serde_json::from_str(r#"{"a": 7, "b": 0.1}"#).unwrap();
        assert_eq!((a, b, c), (7.0, 0.1, None));
        assert!(serde_json::from_str::<All>(r#"{"a": [], "b": 0.1}"#).is_err());
        assert!(serde_json::from_str::<All>(r#"{"b": 0.1}"#).is_err(), "it has to be there");
    }

    #[test]
    fn numbers_are_encoded_in_state_as_plain_floats() {
        let config = bincode::config::standard();
        let bytes = |value| bincode::serde::encode_to_vec(value, config).unwrap();
        assert_eq!(bytes(Number(f64::INFINITY)), bincode::serde::encode_to_vec(f64::INFINITY, config).unwrap());
    }
}
