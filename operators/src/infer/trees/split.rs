//! The tests at the inner nodes of trees, brought into one form: an integer that depends on the row is at most a
//! constant.
//!
//! A feature becomes an integer that sorts as the float does ([`ordered`]), with a place below or above all numbers for
//! NaN. Everything else that libraries can ask of a feature (is it one of these categories, is it missing) is a column
//! of its own, which is computed once for each row. So the walk down a tree knows a single comparison and no missing
//! value.

/// What every node compares with: a column is derived from one feature of the row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Column {
    pub(super) feature: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The order of the numbers.
    Ordered(Nan),
    /// The order of the numbers, in which 0 (to 1e-35) and NaN are both missing, and sort below or above all others:
    /// LightGBM's `zero_as_missing`.
    ZeroMissing { low: bool },
    /// 0 where the feature equals the float of these bits, otherwise 1.
    Equals { bits: u32, nan: bool },
    /// 0 where the feature is, cut to an integer, a category in this set of bits; otherwise 1. NaN yields 0 if `nan`.
    OneOf { bits: Vec<u32>, nan: bool },
}

/// How NaN sorts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Nan {
    Low,
    High,
    Zero,
}

/// The place of NaN below all numbers; a leaf's constant is below even this.
const LOW: i32 = i32::MIN + 1;
const HIGH: i32 = i32::MAX;
/// LightGBM's limit for a zero, `kZeroThreshold`.
const ZERO: f32 = 1e-35;

/// Returns an integer that sorts as the float does. Both zeros yield 0.
pub(super) fn ordered(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    // The magnitude of a negative float grows with its bits. Adding 1 makes -0 and 0 the same.
    if bits < 0 { (bits ^ i32::MAX).wrapping_add(1) } else { bits }
}

/// Returns the float whose key this is.
fn of_key(key: i32) -> f32 {
    f32::from_bits(if key < 0 { (key.wrapping_sub(1)) ^ i32::MAX } else { key }.cast_unsigned())
}

impl Column {
    /// Returns a value of the feature that lies at the border where the test changes.
    pub(super) fn threshold(&self, key: i32) -> f32 {
        match &self.kind {
            Kind::Ordered(_) | Kind::ZeroMissing { .. } => of_key(key),
            Kind::Equals { bits, .. } => f32::from_bits(*bits),
            Kind::OneOf { bits, .. } => bits.iter().position(|word| *word > 0).map_or(0.0, |word| {
                (word * 32 + bits.get(word).map_or(0, |word| word.trailing_zeros()) as usize) as f32
            }),
        }
    }

    /// Fills the keys of this column for the rows in `rows`.
    pub(super) fn keys<const LANES: usize>(&self, rows: &[f32], width: usize, keys: &mut [i32; LANES]) {
        let values = rows.get(self.feature..).unwrap_or_default().iter().step_by(width.max(1));
        let cells = keys.iter_mut().zip(values);
        match &self.kind {
            Kind::Ordered(nan) => {
                let missing = nan.key();
                cells.for_each(|(key, value)| *key = if value.is_nan() { missing } else { ordered(*value) });
            }
            Kind::ZeroMissing { low } => {
                let missing = if *low { LOW } else { HIGH };
                let is_missing = |value: f32| value.is_nan() || value.abs() <= ZERO;
                cells.for_each(|(key, value)| *key = if is_missing(*value) { missing } else { ordered(*value) });
            }
            Kind::Equals { bits, nan } => {
                let wanted = f32::from_bits(*bits);
                cells.for_each(|(key, value)| *key = (*value != wanted && !(*nan && value.is_nan())).into());
            }
            Kind::OneOf { bits, nan } => cells.for_each(|(key, value)| {
                let found = if value.is_nan() { *nan } else { is_one_of(bits, *value) };
                *key = (!found).into();
            }),
        }
    }
}

fn is_one_of(bits: &[u32], value: f32) -> bool {
    // A cast of a float to an integer cuts towards 0, so that -0.5 is category 0.
    if value <= -1.0 || value >= i32::MAX as f32 {
        return false;
    }
    let category = value as usize;
    bits.get(category / 32).is_some_and(|word| word >> (category % 32) & 1 == 1)
}

impl Nan {
    fn key(self) -> i32 {
        match self {
            Self::Low => LOW,
            Self::High => HIGH,
            Self::Zero => 0,
        }
    }
}

/// A comparison of a feature with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    NotEqual,
}

/// The test of a node: it holds if the key of the column is at most `key`, or is not where `inverted`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) column: Column,
    pub(super) key: i32,
    pub(super) inverted: bool,
}

impl Test {
    /// Returns the test `feature RULE threshold`, which for NaN holds only if `nan`, as in ONNX.
    pub(super) fn compare(feature: usize, rule: Rule, threshold: f32, nan: bool) -> Self {
        let (at_most, inverted) = match rule {
            Rule::AtMost => (true, false),
            Rule::Below => (false, false),
            Rule::AtLeast => (false, true),
            Rule::Above => (true, true),
            Rule::Equal | Rule::NotEqual => return Self::equal(feature, rule == Rule::NotEqual, threshold, nan),
        };
        // The place of NaN is where it makes the test hold or not.
        let nan = if nan != inverted { Nan::Low } else { Nan::High };
        let key = match ordered(threshold) {
            // No number compares with NaN.
            _ if threshold.is_nan() => {
                if inverted {
                    HIGH - 1
                } else {
                    LOW
                }
            }
            key if at_most => key,
            // The keys of two neighbours differ by 1, and none is as low as LOW.
            key => key - 1,
        };
        Self { column: Column { feature, kind: Kind::Ordered(nan) }, key, inverted }
    }

    fn equal(feature: usize, inverted: bool, value: f32, nan: bool) -> Self {
        // In C++, as in Rust, NaN differs from everything; there the test for it holds whatever `nan` says.
        let nan = nan && !inverted;
        Self { column: Column { feature, kind: Kind::Equals { bits: value.to_bits(), nan } }, key: 0, inverted }
    }

    /// Returns the test whether the feature is one of the categories whose bits are set. NaN yields `nan`.
    pub(super) fn one_of(feature: usize, bits: Vec<u32>, nan: bool) -> Self {
        Self { column: Column { feature, kind: Kind::OneOf { bits, nan } }, key: 0, inverted: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EDGES: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];

    fn float() -> impl Strategy<Value = f32> {
        prop_oneof![proptest::sample::select(&EDGES[..]), any::<u32>().prop_map(f32::from_bits), -3.0_f32..3.0]
    }

    fn holds(test: &Test, value: f32) -> bool {
        let mut keys = [7; 1];
        test.column.keys(&[value], 1, &mut keys);
        (keys[0] <= test.key) != test.inverted
    }

    proptest! {
        #[test]
        fn a_test_holds_when_the_comparison_of_floats_does(value in float(), threshold in float(), nan: bool, same: bool) {
            let value = if same { threshold } else { value };
            let missing = nan && value.is_nan();
            for (rule, wanted) in [
                (Rule::AtMost, value <= threshold || missing),
                (Rule::Below, value < threshold || missing),
                (Rule::AtLeast, value >= threshold || missing),
                (Rule::Above, value > threshold || missing),
                (Rule::Equal, value == threshold || missing),
                (Rule::NotEqual, value != threshold || missing),
            ] {
                let test = Test::compare(0, rule, threshold, nan);
                prop_assert_eq!(holds(&test, value), wanted, "{} {:?} {} {}", value, rule, threshold, nan);
            }
        }
    }

    #[test]
    fn categories_are_cut_to_integers() {
        let test = Test::one_of(0, vec![0b1001, 1], false);
        let found = |value| holds(&test, value);
        assert!(found(0.0) && found(-0.9) && found(3.7) && found(32.0));
        assert!(!found(1.0) && !found(-1.0) && !found(64.0) && !found(f32::NAN) && !found(f32::INFINITY));
        assert!(holds(&Test::one_of(0, vec![0], true), f32::NAN));
    }
}
