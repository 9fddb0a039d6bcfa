//! The feature spec: which features a record has, their order in the model's input, and the value that replaces a
//! missing feature.

use std::time::Duration;

use super::field::{FeatureCell, FeatureKind};
use super::narrow::{beyond, narrow};

/// The features of a record, in the form that a model takes.
///
/// The [`features!`](crate::features) macro implements this trait for a struct of `f64` fields.
pub trait Features {
    /// The names of the features, in the order of the model's columns.
    const NAMES: &'static [&'static str];

    /// What the features are, in the same order; those that are not listed are numbers.
    const KINDS: &'static [FeatureKind] = &[];

    /// Whether the program says how old they are, in the same order; of those that are not listed it does not.
    const AGED: &'static [bool] = &[];

    /// Writes the features into one row of the tensor, which is `NAMES.len()` wide.
    fn write(&self, row: &mut [f32]);

    /// Writes the features like [`write`](Self::write), or refuses the record when a feature cannot be written. By
    /// default, it refuses none.
    ///
    /// # Errors
    /// Returns the name of the feature and the reason. Such a record gets the default score, or becomes a dead letter.
    fn try_write(&self, row: &mut [f32]) -> Result<(), String> {
        self.write(row);
        Ok(())
    }

    /// Returns how old a feature is that has a value and is [`AGED`](Self::AGED), by its index.
    fn age(&self, at: usize) -> Option<Duration> {
        let _ = at;
        None
    }

    /// Writes the features, of which there are `NAMES.len()`, as they are: NaN where one is missing, or is a text.
    fn numbers(&self, to: &mut [f64]) {
        to.fill(f64::NAN);
        self.visit(&mut |at, cell| {
            if let (Some(to), FeatureCell::Number(value)) = (to.get_mut(at), cell) {
                *to = value;
            }
        });
    }

    /// Hands out each feature with its index, for a model with a `features.json`. Where a value is missing, that file and
    /// not the program says what the model gets. By default these are the numbers that [`write`](Self::write) writes.
    fn visit(&self, visit: &mut dyn FnMut(usize, FeatureCell<'_>)) {
        let mut row = vec![0.0; Self::NAMES.len()];
        self.write(&mut row);
        row.iter().enumerate().for_each(|(at, value)| visit(at, FeatureCell::Number(f64::from(*value))));
    }
}

/// Converts a feature to the nearest f32. NaN and infinities stay what they are.
///
/// # Errors
/// Returns a message with name and value when the value is finite and beyond the range of an f32.
pub fn narrowed(name: &str, value: f64) -> Result<f32, String> {
    narrow(value).ok_or_else(|| beyond(&format!("feature {name}"), value))
}

/// Writes features as f32s, or refuses them as [`narrowed`] does. It searches for the reason only where a written value
/// is infinite.
#[doc(hidden)]
#[inline]
pub fn narrow_all(names: &[&str], values: &[f64], row: &mut [f32]) -> Result<(), String> {
    for (cell, value) in row.iter_mut().zip(values) {
        *cell = *value as f32;
    }
    if row.iter().any(|cell| cell.is_infinite()) { all_fit(names, values) } else { Ok(()) }
}

#[cold]
fn all_fit(names: &[&str], values: &[f64]) -> Result<(), String> {
    names.iter().zip(values).try_for_each(|(name, value)| narrowed(name, *value).map(drop))
}

/// Declares a struct of features in the order of a model's columns. The struct implements [`Features`],
/// `Serialize` (as an object of names and values) and `Deserialize`. The crate that uses it must depend on `serde`.
///
/// For a feature that may be missing, `or` names the value that the model gets instead; its field is an
/// `Option<f64>`. Use `or NaN` for models that were trained with missing values, as XGBoost and LightGBM can be.
/// `country: text` is a category, an `Option<String>`: only models of a repository with a `features.json` take it. Where
/// there is such a file, what the model gets for a missing value is what the file says. `limit: aged or 40.0` is a number
/// with its age, an `Option<`[`Aged`](crate::infer::Aged)`>`, for a `max_age` in that file.
///
/// ```
/// tidemill_operators::features! {
///     /// What the model sees of a payment.
///     pub struct PaymentFeatures {
///         amount,
///         seconds_since_last or NaN,
///         age or 40.0,
///     }
/// }
/// use tidemill_operators::infer::Features;
/// assert_eq!(PaymentFeatures::NAMES, ["amount", "seconds_since_last", "age"]);
/// let first = PaymentFeatures { amount: 12.5, seconds_since_last: None, age: None };
/// let mut row = [0.0; 3];
/// first.write(&mut row);
/// assert!(row[0] == 12.5 && row[1].is_nan() && row[2] == 40.0);
///
/// // Absent and null are missing; NaN is written as null, and is read again.
/// # fn main() -> Result<(), serde_json::Error> {
/// let read: PaymentFeatures = serde_json::from_str(r#"{"amount": null, "age": null}"#)?;
/// assert!(read.amount.is_nan() && read.seconds_since_last.is_none() && read.age.is_none());
/// assert!(serde_json::from_str::<PaymentFeatures>(r#"{"age": 3}"#).is_err(), "amount has to be there");
/// # Ok(())
/// # }
/// ```
///
/// | Feature | `amount` | `age or 40.0` |
/// |---|---|---|
/// | absent from the JSON, or not a column of the file | an error: the record is malformed | missing: 40.0 |
/// | `null`, or an empty cell | NaN (a cell: an error) | missing: 40.0 |
/// | NaN | NaN | missing: 40.0 |
/// | infinite | infinite; in JSON `"Infinity"` | the same |
/// | finite, beyond the range of an f32 | the record is refused: default score, or dead letter | the same |
#[macro_export]
macro_rules! features {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident $(: $kind:ident)? $(or $missing:expr)?),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $vis struct $name {
            $(
                #[doc = concat!("Feature `", stringify!($field), "`.")]
                $(#[doc = concat!("Where it is missing the model gets `", stringify!($missing), "`.")])?
                pub $field: $crate::__feature_type!($($kind)?; $($missing)?)
            ),+
        }

        // With a text it is not copied: the lifetimes keep that from being an error.
        impl ::core::marker::Copy for $name
        where
            $(for<'any> $crate::__feature_type!($($kind)?; $($missing)?): ::core::marker::Copy),+
        {
        }

        impl $name {
            /// Creates the features from their values, in order. Features without a value are 0, or `None`.
            #[allow(dead_code)]
            $vis fn from_values(values: impl IntoIterator<Item = f64>) -> Self {
                let mut values = values.into_iter();
                Self { $($field: $crate::infer::FeatureValue::of(&mut values)),+ }
            }
        }

        impl $crate::infer::Features for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            const KINDS: &'static [$crate::infer::FeatureKind] = &[$(
                <$crate::__feature_type!($($kind)?; $($missing)?) as $crate::infer::FeatureValue>::KIND
            ),+];
            const AGED: &'static [bool] = &[$(
                <$crate::__feature_type!($($kind)?; $($missing)?) as $crate::infer::FeatureValue>::IS_AGED
            ),+];

            fn age(&self, at: usize) -> ::core::option::Option<::core::time::Duration> {
                let ages = [$($crate::infer::FeatureValue::age(&self.$field)),+];
                ages.get(at).copied().flatten()
            }

            fn write(&self, row: &mut [f32]) {
                let values = [$($crate::infer::FeatureValue::or_missing(
                    &self.$field, $crate::__feature_missing!($($missing)?))),+];
                for (cell, value) in row.iter_mut().zip(values) {
                    *cell = value as f32;
                }
            }

            fn try_write(&self, row: &mut [f32]) -> ::core::result::Result<(), ::std::string::String> {
                let values = [$($crate::infer::FeatureValue::or_missing(
                    &self.$field, $crate::__feature_missing!($($missing)?))),+];
                $crate::infer::narrow_all(<Self as $crate::infer::Features>::NAMES, &values, row)
            }

            #[inline]
            fn numbers(&self, to: &mut [f64]) {
                let values = [$($crate::infer::FeatureValue::or_missing(&self.$field, f64::NAN)),+];
                to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
            }

            #[inline]
            fn visit(&self, visit: &mut dyn ::core::ops::FnMut(usize, $crate::infer::FeatureCell<'_>)) {
                let mut at = 0;
                let mut next = |cell: $crate::infer::FeatureCell<'_>| {
                    visit(at, cell);
                    at += 1;
                };
                $(next($crate::infer::FeatureValue::cell(&self.$field));)+
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let count = <Self as $crate::infer::Features>::NAMES.len();
                let mut fields = serializer.serialize_struct(stringify!($name), count)?;
                $(fields.serialize_field(stringify!($field), &$crate::infer::WrittenFeature(&self.$field))?;)+
                fields.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                // Another struct of the same name, because serde reads each field according to its type.
                fn read<'de, D: serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<($($crate::__feature_type!($($kind)?; $($missing)?),)+), D::Error> {
                    #[derive(serde::Deserialize)]
                    struct $name { $($field: $crate::infer::ReadFeature<$crate::__feature_type!($($kind)?; $($missing)?)>),+ }
                    let read: $name = serde::Deserialize::deserialize(deserializer)?;
                    ::core::result::Result::Ok(($(read.$field.0,)+))
                }
                let ($($field,)+) = read(deserializer)?;
                ::core::result::Result::Ok(Self { $($field),+ })
            }
        }
    };
}

/// The type of a field of [`features!`](crate::features).
#[doc(hidden)]
#[macro_export]
macro_rules! __feature_type {
    (;) => { f64 };
    (; $missing:expr) => { ::core::option::Option<f64> };
    (text;) => { ::core::option::Option<::std::string::String> };
    (aged; $($missing:expr)?) => { ::core::option::Option<$crate::infer::Aged> };
}

/// The value that the model gets for a missing field of [`features!`](crate::features).
#[doc(hidden)]
#[macro_export]
macro_rules! __feature_missing {
    () => {
        f64::NAN
    };
    ($missing:expr) => {{
        #[allow(non_upper_case_globals, dead_code)]
        const NaN: f64 = f64::NAN;
        #[allow(clippy::unnecessary_cast)]
        let missing = $missing as f64;
        missing
    }};
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::infer::Aged;

    crate::features! {
        /// Every kind of feature.
        struct Mixed { plain, age or 40.0, seen or NaN, below or -1 }
    }

    crate::features! {
        struct Known { limit: aged or 40.0, plain, score: aged }
    }

    #[test]
    fn the_age_of_a_number_goes_with_it_but_not_into_json() {
        let at = |seconds: i64| tidemill_engine::EventTime(seconds * 1000);
        let known = Known { limit: Some(Aged::at(5.0, at(10), at(12))), plain: 1.0, score: None };
        let aged = Aged { value: 5.0, age: Duration::from_secs(2) };
        assert_eq!((known.limit, Aged::at(5.0, at(12), at(10)).age), (Some(aged), Duration::ZERO));
        assert_eq!(
            (Known::AGED, known.age(0), known.age(1), known.age(2)),
            (&[true, false, true][..], Some(aged.age), None, None)
        );
        let mut row = [0.0; 3];
        known.write(&mut row);
        assert!(row[..2] == [5.0, 1.0] && row[2].is_nan());
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(json, r#"{"limit":5.0,"plain":1.0,"score":null}"#);
        let read: Known = serde_json::from_str(&json).unwrap();
        assert_eq!(read, Known { limit: Some(Aged { age: Duration::ZERO, ..aged }), ..known });
        let bytes = bincode::serde::encode_to_vec(known, bincode::config::standard()).unwrap();
        let read: (Known, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        assert_eq!(read, (known, bytes.len()));
    }

    fn row(features: &Mixed) -> Result<[f32; 4], String> {
        let mut row = [0.0; 4];
        features.try_write(&mut row).map(|()| row)
    }

    #[test]
    fn missing_values_are_replaced_as_declared() {
        let Ok([plain, age, seen, below]) = row(&Mixed { plain: f64::NAN, ..Mixed::default() }) else { panic!() };
        assert!(plain.is_nan() && seen.is_nan());
        assert_eq!((age, below), (40.0, -1.0));
        let there = Mixed { plain: 1.0, age: Some(f64::NAN), seen: Some(2.0), below: Some(f64::INFINITY) };
        assert_eq!(row(&there), Ok([1.0, 40.0, 2.0, f32::INFINITY]));
        assert_eq!(Mixed::from_values([3.0, 4.0]), Mixed { plain: 3.0, age: Some(4.0), seen: None, below: None });
        assert_eq!(Mixed::from_values([]), Mixed::default());
    }

    #[test]
    fn what_is_beyond_an_f32_is_named() {
        let large = Mixed { seen: Some(-1e39), ..Mixed::default() };
        assert_eq!(row(&large), Err("feature seen is -1e39: an f32 holds no more than 3.4028235e38".to_owned()));
    }

    #[test]
    fn absent_and_null_are_distinguished_where_it_matters() {
        let read = |text: &str| serde_json::from_str::<Mixed>(text);
        let found = read(r#"{"plain": null, "age": null, "seen": "NaN", "below": "-Infinity", "other": [1]}"#).unwrap();
        assert!(found.plain.is_nan() && found.age.is_none() && found.seen.is_some_and(f64::is_nan));
        assert_eq!(found.below, Some(f64::NEG_INFINITY));
        assert_eq!(read(r#"{"plain": 3}"#).unwrap(), Mixed { plain: 3.0, ..Mixed::default() });
        let missing = read(r#"{"age": 3}"#).unwrap_err().to_string();
        assert!(missing.contains("missing field `plain`"), "{missing}");
        assert!(read(r#"{"plain": true}"#).is_err() && read(r#"{"plain": "many"}"#).is_err());
    }

    fn any_f64() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            -1e3..1e3,
            Just(f64::from(f32::MAX)),
            Just(f64::INFINITY),
            Just(0.0)
        ]
    }

    fn same(a: f64, b: f64) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    proptest! {
        /// Compares with the definition: the nearest f32, ties to even, and none beyond half a step above the largest.
        #[test]
        fn narrowing_is_rounding_or_refused(value in any_f64()) {
            let limit = f64::from(f32::MAX) + f64::exp2(103.0);
            match narrowed("x", value) {
                Ok(narrow) if value.is_finite() => {
                    prop_assert!(narrow.is_finite() && value.abs() < limit);
                    let error = (f64::from(narrow) - value).abs();
                    for other in [narrow.next_up(), narrow.next_down()].into_iter().filter(|other| other.is_finite()) {
                        prop_assert!(error <= (f64::from(other) - value).abs(), "{value}: {narrow} or {other}");
                    }
                }
                Ok(narrow) => prop_assert!(same(f64::from(narrow), value)),
                Err(_) => prop_assert!(value.is_finite() && value.abs() >= limit),
            }
        }

        /// Any value survives, both in JSON and in the format of state and messages between workers.
        #[test]
        fn what_is_written_is_read_again(plain in any_f64(), age in proptest::option::of(any_f64())) {
            let written = Mixed { plain, age, seen: None, below: Some(0.5) };
            let read: Mixed = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
            prop_assert!(same(read.plain, plain));
            // In JSON a missing feature is a NaN; to the model they are the same.
            prop_assert!(same(read.age.unwrap_or(f64::NAN), age.unwrap_or(f64::NAN)));
            prop_assert_eq!((read.seen, read.below), (None, Some(0.5)));
            let bytes = bincode::serde::encode_to_vec(written, bincode::config::standard()).unwrap();
            let (read, used): (Mixed, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
            prop_assert!(same(read.plain, plain) && same(read.age.unwrap_or(1.0), age.unwrap_or(1.0)) && used == bytes.len());
        }
    }
}
