//! Exact sums of floats, so that a value that leaves a window takes away exactly what it added.
//!
//! ```text
//! usual values ──▶ Pair: two floats, exact as long as it says so
//! NaN, infinities, overflow, magnitudes too far apart ──▶ ExactSum: one integer wide enough for any sum, and counts
//! ```
//! A pair has 106 bits, which is enough for nearly all sums, at the cost of a few additions. It shows when a sum does
//! not fit in it, and its user then continues with an [`ExactSum`], which costs a few hundred bytes and nanoseconds.

use serde::{Deserialize, Serialize};

/// A sum as two floats, of which the second is the part that rounding took from the first (`TwoSum`; Knuth, The Art of
/// Computer Programming 2, 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pair {
    pub(crate) sum: f64,
    /// The part that rounding took from `sum`. NaN if the two floats are not exact: then `sum` is the rounded sum.
    pub(crate) low: f64,
}

impl Pair {
    /// Adds a value. The result is not exact if the sum is not finite or does not fit in two floats.
    #[inline]
    pub(crate) fn plus(self, value: f64) -> Self {
        let (sum, is_exact) = self.plus_if_exact(value);
        if is_exact { sum } else { self.plus_from_anew(value) }
    }

    /// Adds a value without a branch. The second result says whether the sum is exact; if it is false, the sum must
    /// not be used, although it might still fit in two floats.
    #[inline]
    pub(crate) fn plus_if_exact(self, value: f64) -> (Self, bool) {
        let sum = two_sum(self.sum, value);
        let low = self.low + sum.low;
        // Both comparisons are true only for exact additions, and are false if something is not finite.
        (Self { sum: sum.sum, low }, (low - self.low == sum.low) & (low - sum.low == self.low))
    }

    /// Adds a value after making the two floats not overlap: floats that overlap have fewer bits than two floats can
    /// have.
    #[cold]
    fn plus_from_anew(self, value: f64) -> Self {
        let tidy = two_sum(self.sum, self.low);
        let sum = two_sum(tidy.sum, value);
        let low = two_sum(tidy.low, sum.low);
        Self { sum: sum.sum, low: if low.low == 0.0 { low.sum } else { f64::NAN } }
    }

    /// Adds a value. A sum that does not fit in two floats is rounded; one that is not finite is computed by IEEE 754.
    #[inline]
    pub(crate) fn plus_rounded(self, value: f64) -> Self {
        let exact = self.plus(value);
        if exact.low.is_nan() { self.plus_roughly(value) } else { exact }
    }

    #[cold]
    fn plus_roughly(self, value: f64) -> Self {
        let Self { sum, low } = two_sum(self.sum, value);
        if sum.is_finite() { Self { sum, low: self.low + low } } else { Self { sum: self.value() + value, low: 0.0 } }
    }

    /// Returns whether the two floats are the exact sum.
    pub(crate) fn is_exact(self) -> bool {
        self.sum.is_finite() && !self.low.is_nan()
    }

    /// Returns the sum, rounded once.
    pub(crate) fn value(self) -> f64 {
        if self.low.is_nan() { self.sum } else { self.sum + self.low }
    }
}

/// Returns the rounded sum of two floats, and the part that rounding took from it.
#[inline]
fn two_sum(a: f64, b: f64) -> Pair {
    let sum = a + b;
    let of_b = sum - a;
    Pair { sum, low: (a - (sum - of_b)) + (b - of_b) }
}

/// An exact sum of any floats. The finite ones are summed in one integer, in units of the least positive float; the
/// others are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExactSum {
    /// The integer in two's complement, the lowest limb first.
    limbs: Vec<u64>,
    nan: u64,
    infinite: u64,
    minus_infinite: u64,
}

/// Number of limbs: 2^1024 is 2^2098 units; 64 more bits allow for as many values as can be counted, and one is the
/// sign.
const LIMBS: usize = (2098 + 64_usize + 1).div_ceil(64);
/// The exponent of a unit.
const UNIT: i32 = -1074;

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: vec![0; LIMBS], nan: 0, infinite: 0, minus_infinite: 0 }
    }
}

impl ExactSum {
    /// Returns the sum of the two floats of an exact pair.
    pub(crate) fn of(pair: Pair) -> Self {
        let mut sum = Self::default();
        sum.add(pair.sum);
        sum.add(pair.low);
        sum
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.add_times(value, 1);
    }

    /// Adds a value `times` times.
    pub(crate) fn add_times(&mut self, value: f64, times: u64) {
        match self.special(value) {
            Some(count) => *count += times,
            None => self.add_finite(value, times),
        }
    }

    /// Takes away a value that was added.
    pub(crate) fn remove(&mut self, value: f64) {
        match self.special(value) {
            Some(count) => *count = count.saturating_sub(1),
            None => self.add_finite(-value, 1),
        }
    }

    /// Adds all values of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (limb, added) in self.limbs.iter_mut().zip(&other.limbs) {
            (*limb, carry) = limb.carrying_add(*added, carry);
        }
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.minus_infinite += other.minus_infinite;
    }

    /// Returns the count of values of the kind of `value`; `None` if it is finite.
    fn special(&mut self, value: f64) -> Option<&mut u64> {
        if value.is_finite() {
            None
        } else if value.is_nan() {
            Some(&mut self.nan)
        } else if value > 0.0 {
            Some(&mut self.infinite)
        } else {
            Some(&mut self.minus_infinite)
        }
    }

    fn add_finite(&mut self, value: f64, times: u64) {
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
        let (mantissa, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | (1 << 52), exponent as usize - 1) };
        self.add_units(value.is_sign_negative(), u128::from(mantissa) * u128::from(times), shift);
    }

    /// Adds `mantissa` · 2^`shift` units, or takes them away.
    pub(crate) fn add_units(&mut self, negative: bool, mantissa: u128, shift: usize) {
        let by = shift % 64;
        let low = mantissa << by;
        let high = if by == 0 { 0 } else { (mantissa >> (128 - by)) as u64 };
        let mut parts = [low as u64, (low >> 64) as u64, high].into_iter();
        let mut carry = false;
        for limb in self.limbs.iter_mut().skip(shift / 64) {
            let part = parts.next();
            if part.is_none() && !carry {
                return;
            }
            let part = part.unwrap_or(0);
            (*limb, carry) = if negative { limb.borrowing_sub(part, carry) } else { limb.carrying_add(part, carry) };
        }
    }

    /// Returns the sum by IEEE 754 if some values are not finite. It does not depend on their order.
    fn not_finite(&self) -> Option<f64> {
        match (self.nan > 0, self.infinite > 0, self.minus_infinite > 0) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// Returns the sum, rounded once; infinite if it is beyond the range of floats.
    pub(crate) fn value(&self) -> f64 {
        let (mantissa, exponent) = self.rounded();
        self.not_finite().unwrap_or_else(|| scaled(mantissa, exponent))
    }

    /// Returns the mean, where `count` is the number of values, also if their sum is beyond the range of floats.
    pub(crate) fn mean(&self, count: u64) -> f64 {
        let (mantissa, exponent) = self.rounded();
        self.not_finite().unwrap_or_else(|| scaled(mantissa / count as f64, exponent))
    }

    /// Returns the sum as a pair, which is exact if the sum fits in two floats.
    pub(crate) fn pair(&self) -> Pair {
        let sum = self.value();
        if !sum.is_finite() {
            return Pair { sum, low: f64::NAN };
        }
        let mut rest = self.clone();
        rest.add_finite(-sum, 1);
        let low = rest.value();
        rest.add_finite(-low, 1);
        Pair { sum, low: if rest.limbs.iter().all(|limb| *limb == 0) { low } else { f64::NAN } }
    }

    /// Returns the sum of the finite values in 53 bits, and the exponent of the unit of these.
    fn rounded(&self) -> (f64, i32) {
        let negative = self.limbs.last().is_some_and(|limb| limb >> 63 == 1);
        let mut limbs = self.limbs.clone();
        if negative {
            let mut carry = true;
            limbs.iter_mut().for_each(|limb| (*limb, carry) = (!*limb).carrying_add(0, carry));
        }
        let sign = if negative { -1.0 } else { 1.0 };
        let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return (0.0, 0) };
        let (high, below) = (limbs[top], &limbs[..top]);
        let Some((next, lower)) = below.split_last() else { return (sign * high as f64, UNIT) };
        // The 64 bits from the highest one on. Of the bits below, rounding only needs to know whether any is set.
        let shift = high.leading_zeros();
        let (bits, cut) =
            if shift == 0 { (high, *next) } else { (high << shift | next >> (64 - shift), next << shift) };
        let more = cut != 0 || lower.iter().any(|limb| *limb != 0);
        let exponent = (top * 64) as i32 - shift as i32 + UNIT;
        (sign * (bits | u64::from(more)) as f64, exponent)
    }
}

/// Returns `mantissa` × 2^`exponent`, for an integral mantissa of up to about 64 bits and any exponent that a sum may
/// have.
fn scaled(mantissa: f64, exponent: i32) -> f64 {
    let power = |exponent: i32| f64::from_bits(((1023 + exponent) as u64) << 52);
    // It takes two steps, since the whole power may be out of range where the result is not.
    mantissa * power(exponent / 2) * power(exponent - exponent / 2)
}

#[cfg(test)]
mod tests;
