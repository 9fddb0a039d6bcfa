//! The exact sum of floats by long addition, digit by digit. Tests compare other sums with it.

use proptest::prelude::*;

/// Number of digits, of 16 bits each, from the least positive float up. Carries are applied only at the end.
const DIGITS: usize = 160;

/// Returns the sum of `values`, rounded once: to the nearest float, or to the even one of two that are equally near.
pub fn sum(values: &[f64]) -> f64 {
    if values.iter().any(|value| !value.is_finite()) {
        // Additions of infinities and NaN do not depend on their order, and nothing finite can hide them.
        return values.iter().filter(|value| !value.is_finite()).sum();
    }
    let mut digits = [0_i64; DIGITS];
    values.iter().for_each(|value| add(&mut digits, *value));
    let negative = carried(&mut digits);
    if negative {
        digits.iter_mut().for_each(|digit| *digit = -*digit);
        carried(&mut digits);
    }
    let bit = |at: usize| digits[at / 16] >> (at % 16) & 1;
    let Some(top) = (0..DIGITS * 16 - 16).rev().find(|at| bit(*at) == 1) else { return 0.0 };
    let lowest = (top + 1).saturating_sub(53);
    let mut mantissa = (lowest..=top).rev().fold(0_u64, |mantissa, at| mantissa << 1 | bit(at) as u64);
    if lowest > 0 && bit(lowest - 1) == 1 && (mantissa & 1 == 1 || (0..lowest - 1).any(|at| bit(at) == 1)) {
        mantissa += 1;
    }
    // Doubling is exact, and gives infinity if there is no float that large.
    let magnitude = (0..lowest).fold(mantissa as f64 * f64::from_bits(1), |value, _| value * 2.0);
    if negative { -magnitude } else { magnitude }
}

fn add(digits: &mut [i64; DIGITS], value: f64) {
    let (mut rest, mut at) = (value.abs(), 0);
    // Halves the value until it is an integer number of units, again without rounding.
    while rest >= f64::MIN_POSITIVE * 2.0 {
        (rest, at) = (rest / 2.0, at + 1);
    }
    let units = (rest.to_bits() as i128) << (at % 16);
    for part in 0..6 {
        let digit = (units >> (16 * part) & 0xffff) as i64;
        digits[at / 16 + part] += if value < 0.0 { -digit } else { digit };
    }
}

/// Applies the carries, so that each digit but the last has 16 bits. Returns whether the sum is negative.
fn carried(digits: &mut [i64; DIGITS]) -> bool {
    let mut carry = 0;
    for digit in &mut digits[..DIGITS - 1] {
        let all = *digit + carry;
        (*digit, carry) = (all & 0xffff, all >> 16);
    }
    digits[DIGITS - 1] += carry;
    digits[DIGITS - 1] < 0
}

/// Returns whether both are the same number, or both are NaN.
pub fn same(left: f64, right: f64) -> bool {
    left == right || (left.is_nan() && right.is_nan())
}

/// Generates values as they occur in practice, and extreme ones that must not break anything.
pub fn value() -> impl Strategy<Value = f64> {
    let extreme = prop::sample::select(vec![
        1.7e308,
        -1.7e308,
        f64::MAX,
        f64::MIN,
        1e300,
        -1e300,
        1e16,
        1.0,
        -1.0,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        -f64::from_bits(3),
        0.0,
        -0.0,
    ]);
    prop_oneof![
        6 => (-1_000_000..1_000_000_i32).prop_map(|cents| f64::from(cents) / 100.0),
        2 => any::<i32>().prop_map(f64::from),
        2 => extreme,
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}
