//! A feature: what it is, its value in a record, and the types of fields of [`features!`](crate::features).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidemill_engine::EventTime;

use super::nan_as_null::Number;

/// What a feature is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeatureKind {
    /// A number.
    #[default]
    Number,
    /// A text, as a category. Only models with a `features.json` take it, which says how it becomes numbers.
    Text,
}

impl fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Text => "text",
        })
    }
}

/// The value of a feature of a record, as the rules of a `features.json` get it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FeatureCell<'f> {
    /// There is none.
    Missing,
    /// A number; NaN is missing, too.
    Number(f64),
    /// A text.
    Text(&'f str),
}

/// A number, and how old it is: what a model gets for one that is older than the `max_age` of its `features.json` is what it
/// gets for one that is missing.
///
/// JSON has the number alone, and one that is read from there is new. State, and messages between workers, have both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aged {
    /// The number; NaN is missing.
    pub value: f64,
    /// For how long it had been known.
    pub age: Duration,
}

impl Aged {
    /// Returns a number of event time `known`, as a record of event time `now` sees it. One of the future is new.
    #[must_use]
    pub fn at(value: f64, known: EventTime, now: EventTime) -> Self {
        let age = Duration::from_millis(u64::try_from(now.0.saturating_sub(known.0)).unwrap_or_default());
        Self { value, age }
    }
}

/// The type of a field in [`features!`](crate::features): `f64`, `Option<f64>`, `Option<Aged>` or `Option<String>`.
#[doc(hidden)]
pub trait FeatureValue: Sized {
    const KIND: FeatureKind;
    const IS_AGED: bool = false;

    /// Takes a number off a list of values, which may be too short.
    fn of(values: &mut impl Iterator<Item = f64>) -> Self;

    /// Returns the number for the model, which is `missing` where the feature is missing.
    fn or_missing(&self, missing: f64) -> f64;

    fn cell(&self) -> FeatureCell<'_>;

    fn age(&self) -> Option<Duration> {
        None
    }

    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    fn read_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl FeatureValue for f64 {
    const KIND: FeatureKind = FeatureKind::Number;

    fn of(values: &mut impl Iterator<Item = f64>) -> Self {
        values.next().unwrap_or_default()
    }

    #[inline]
    fn or_missing(&self, _: f64) -> f64 {
        *self
    }

    fn cell(&self) -> FeatureCell<'_> {
        FeatureCell::Number(*self)
    }

    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Number(*self).serialize(serializer)
    }

    fn read_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::deserialize(deserializer).map(|Number(value)| value)
    }
}

impl FeatureValue for Option<f64> {
    const KIND: FeatureKind = FeatureKind::Number;

    fn of(values: &mut impl Iterator<Item = f64>) -> Self {
        values.next()
    }

    /// NaN counts as missing too, because JSON writes both as `null`.
    #[inline]
    fn or_missing(&self, missing: f64) -> f64 {
        self.filter(|value| !value.is_nan()).unwrap_or(missing)
    }

    fn cell(&self) -> FeatureCell<'_> {
        self.map_or(FeatureCell::Missing, FeatureCell::Number)
    }

    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Number(*self).serialize(serializer)
    }

    fn read_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::deserialize(deserializer).map(|Number(value)| value)
    }
}

impl FeatureValue for Option<Aged> {
    const KIND: FeatureKind = FeatureKind::Number;
    const IS_AGED: bool = true;

    fn of(values: &mut impl Iterator<Item = f64>) -> Self {
        values.next().map(|value| Aged { value, age: Duration::ZERO })
    }

    #[inline]
    fn or_missing(&self, missing: f64) -> f64 {
        self.map(|aged| aged.value).or_missing(missing)
    }

    fn cell(&self) -> FeatureCell<'_> {
        self.map_or(FeatureCell::Missing, |aged| FeatureCell::Number(aged.value))
    }

    fn age(&self) -> Option<Duration> {
        self.map(|aged| aged.age)
    }

    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.map(|aged| aged.value).write_field(serializer);
        }
        self.map(|Aged { value, age }| (value, age)).serialize(serializer)
    }

    fn read_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Option::<f64>::read_field(deserializer).map(|value| Self::of(&mut value.into_iter()));
        }
        Ok(Option::<(f64, Duration)>::deserialize(deserializer)?.map(|(value, age)| Aged { value, age }))
    }
}

impl FeatureValue for Option<String> {
    const KIND: FeatureKind = FeatureKind::Text;

    /// A list of numbers has no texts.
    fn of(_: &mut impl Iterator<Item = f64>) -> Self {
        None
    }

    fn or_missing(&self, _: f64) -> f64 {
        f64::NAN
    }

    fn cell(&self) -> FeatureCell<'_> {
        self.as_deref().map_or(FeatureCell::Missing, FeatureCell::Text)
    }

    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn read_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// A field of [`features!`](crate::features) that is written.
#[doc(hidden)]
pub struct WrittenFeature<'f, T>(pub &'f T);

impl<T: FeatureValue> Serialize for WrittenFeature<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write_field(serializer)
    }
}

/// A field of [`features!`](crate::features) that is read.
#[doc(hidden)]
pub struct ReadFeature<T>(pub T);

impl<'de, T: FeatureValue> Deserialize<'de> for ReadFeature<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read_field(deserializer).map(Self)
    }
}
