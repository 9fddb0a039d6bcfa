//! The value of a feature in a row, and how two of them compare.

use std::fmt;

use serde_json::Value;

/// The value of a feature. Numbers are f64, as features are; whatever else there is has a box, so that a row of numbers,
/// the usual one, takes 16 bytes for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// The row does not have the feature.
    #[default]
    Absent,
    /// `null` in JSON, a null or a NaN in Parquet: programs write NaN to JSON as `null`.
    Null,
    Number(f64),
    Other(Box<OtherCell>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum OtherCell {
    /// An integer that no f64 is equal to, so that it is not rounded before it is compared.
    Large(i128),
    Text(String),
    /// A list or an object, as JSON.
    Json(String),
}

impl Cell {
    pub fn number(number: f64) -> Self {
        if number.is_nan() { Self::Null } else { Self::Number(number) }
    }

    pub fn integer(integer: i128) -> Self {
        let number = integer as f64;
        if number as i128 == integer { Self::Number(number) } else { Self::Other(Box::new(OtherCell::Large(integer))) }
    }

    /// The cell of a text. JSON has no infinities: programs write these two texts instead.
    pub fn text(text: &str) -> Self {
        match text {
            "Infinity" => Self::Number(f64::INFINITY),
            "-Infinity" => Self::Number(f64::NEG_INFINITY),
            _ => Self::Other(Box::new(OtherCell::Text(text.to_owned()))),
        }
    }

    pub fn json(value: &Value) -> Self {
        Self::Other(Box::new(OtherCell::Json(value.to_string())))
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }

    /// Returns the number, rounded if no f64 is equal to it.
    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Other(other) => match **other {
                OtherCell::Large(integer) => Some(integer as f64),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns what the value is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent | Self::Null => "null",
            Self::Number(_) => "number",
            Self::Other(other) => match **other {
                OtherCell::Large(_) => "number",
                OtherCell::Text(_) => "text",
                OtherCell::Json(_) => "json",
            },
        }
    }

    /// Returns the value as programs write it to JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Absent | Self::Null => Value::Null,
            Self::Number(number) => json_number(*number),
            Self::Other(other) => match &**other {
                OtherCell::Large(integer) => i64::try_from(*integer).map_or_else(
                    |_| u64::try_from(*integer).map_or_else(|_| json_number(*integer as f64), Value::from),
                    Value::from,
                ),
                OtherCell::Text(text) => Value::from(text.as_str()),
                OtherCell::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            },
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            _ => self.to_json().fmt(f),
        }
    }
}

/// Returns a number for JSON, an infinity as its text.
pub fn json_number(number: f64) -> Value {
    match number {
        f64::INFINITY => Value::from("Infinity"),
        f64::NEG_INFINITY => Value::from("-Infinity"),
        _ => Value::from(number),
    }
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    BothNull,
    LeftNull,
    RightNull,
    /// All bits are equal.
    Identical,
    /// Other bits, and no mismatch: 0.0 and -0.0, or numbers within the tolerance.
    Close,
    Mismatch,
}

/// Compares two values; none if neither row has the feature.
pub fn compare(left: &Cell, right: &Cell, tolerance: f64) -> Option<Compared> {
    Some(match (left, right) {
        (Cell::Absent, Cell::Absent) => return None,
        _ if left.is_null() && right.is_null() => Compared::BothNull,
        _ if left.is_null() => Compared::LeftNull,
        _ if right.is_null() => Compared::RightNull,
        (Cell::Number(a), Cell::Number(b)) if a.to_bits() == b.to_bits() => Compared::Identical,
        (Cell::Number(a), Cell::Number(b)) if a == b => Compared::Close,
        (Cell::Other(a), Cell::Other(b)) if a == b => Compared::Identical,
        _ => match numbers(left, right) {
            Some((a, b)) if is_within(a, b, tolerance) => Compared::Close,
            _ => Compared::Mismatch,
        },
    })
}

/// Returns both values as numbers, if they are numbers.
pub fn numbers(left: &Cell, right: &Cell) -> Option<(f64, f64)> {
    left.as_f64().zip(right.as_f64())
}

/// Returns whether unequal numbers differ by no more than the tolerance. Without one they do, even if they are integers
/// that round to the same f64.
fn is_within(a: f64, b: f64, tolerance: f64) -> bool {
    tolerance > 0.0 && a.is_finite() && b.is_finite() && (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

/// Returns one term of the symmetric mean absolute percentage error: 2|a-b| / (|a|+|b|), 0 if both are 0, and 2 at the
/// limit, where one is infinite.
pub fn smape_term(a: f64, b: f64) -> f64 {
    let largest = a.abs().max(b.abs());
    if a == b {
        return 0.0;
    }
    if largest.is_infinite() {
        return 2.0;
    }
    // The largest numbers are divided by a power of two, which changes no bit of the quotient: their sum would overflow.
    let (a, b) = if largest > f64::MAX / 4.0 { (a / 4.0, b / 4.0) } else { (a, b) };
    2.0 * (a - b).abs() / (a.abs() + b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(left: Cell, right: Cell) -> Option<Compared> {
        compare(&left, &right, 0.0)
    }

    #[test]
    fn bits_come_first_and_nulls_are_no_numbers() {
        assert_eq!(size_of::<Cell>(), 16);
        let number = Cell::number;
        assert_eq!(compared(number(0.1), number(0.1)), Some(Compared::Identical));
        assert_eq!(compared(number(0.1), number(0.1f64.next_up())), Some(Compared::Mismatch));
        assert_eq!(compared(number(0.0), number(-0.0)), Some(Compared::Close));
        assert_eq!(compared(number(f64::NAN), Cell::Null), Some(Compared::BothNull));
        assert_eq!(compared(Cell::Absent, number(1.0)), Some(Compared::LeftNull));
        assert_eq!(compared(number(1.0), Cell::Null), Some(Compared::RightNull));
        assert_eq!(compared(Cell::Absent, Cell::Null), Some(Compared::BothNull));
        assert_eq!(compared(Cell::Absent, Cell::Absent), None);
        assert_eq!(compared(Cell::text("Infinity"), number(f64::INFINITY)), Some(Compared::Identical));
        assert_eq!(compared(Cell::text("a"), Cell::text("a")), Some(Compared::Identical));
        assert_eq!(compared(Cell::text("1"), number(1.0)), Some(Compared::Mismatch));
    }

    #[test]
    fn integers_are_not_rounded_before_they_are_compared() {
        let large = 9_007_199_254_740_993;
        assert_eq!(compared(Cell::integer(5), Cell::number(5.0)), Some(Compared::Identical));
        assert_eq!(compared(Cell::integer(large), Cell::integer(large)), Some(Compared::Identical));
        assert_eq!(compared(Cell::integer(large), Cell::integer(large - 1)), Some(Compared::Mismatch));
        assert_eq!(compare(&Cell::integer(large), &Cell::integer(large - 1), 1e-9), Some(Compared::Close));
        assert_eq!(Cell::integer(i128::from(u64::MAX)).to_string(), u64::MAX.to_string());
    }

    #[test]
    fn a_tolerance_is_relative_to_the_larger_number() {
        let close = |a, b, tolerance| compare(&Cell::number(a), &Cell::number(b), tolerance) == Some(Compared::Close);
        assert!(close(100.0, 101.0, 0.01) && !close(100.0, 102.0, 0.01));
        assert!(!close(f64::INFINITY, 1.0, 0.5) && !close(f64::INFINITY, f64::NEG_INFINITY, 0.5));
        assert!(!close(1e-300, 0.0, 0.5), "nothing but 0 is near 0");
    }

    #[test]
    fn smape_is_between_0_and_2() {
        assert_eq!([smape_term(0.0, -0.0), smape_term(1.0, 3.0), smape_term(1.0, -1.0)], [0.0, 1.0, 2.0]);
        assert_eq!([smape_term(f64::INFINITY, 1.0), smape_term(f64::MAX, -f64::MAX)], [2.0, 2.0]);
        assert_eq!([smape_term(f64::INFINITY, f64::INFINITY), smape_term(0.0, 5e-324)], [0.0, 2.0]);
    }
}
