//! Sums of floats that lose nothing, so that what leaves a window takes away exactly what it brought.
//!
//! ```text
//! usual values ──▶ Pair: two floats, exact as long as it says so
//! NaN, infinities, overflow, magnitudes too far apart ──▶ ExactSum: one integer wide enough for any sum, and counts
//! ```
//! A pair holds 106 bits, enough for nearly everything, at the cost of some additions. What it cannot hold exactly it
//! says, and whoever keeps it goes on with an [`ExactSum`], which costs some hundred bytes and nanoseconds.

use serde::{Deserialize, Serialize};

/// A sum as two floats, of which the second is what rounding took from the first (`TwoSum`; Knuth, The Art of Computer
/// Programming 2, 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pair {
    pub(crate) sum: f64,
    /// NaN where the two are not exact: then `sum` is the sum, rounded.
    pub(crate) low: f64,
}

impl Pair {
    /// Adds a value. The result is not exact where the sum is not finite, or has no place in two floats.
    #[inline]
    pub(crate) fn plus(self, value: f64) -> Self {
        let (sum, is_exact) = self.plus_if_exact(value);
        if is_exact { sum } else { self.plus_from_anew(value) }
    }

    /// Adds a value without a branch. If the second is false, the sum is not to be used; it may have a place in two
    /// floats all the same.
    #[inline]
    pub(crate) fn plus_if_exact(self, value: f64) -> (Self, bool) {
        let sum = two_sum(self.sum, value);
        let low = self.low + sum.low;
        // Both hold of exact additions only, and not where something is not finite.
        (Self { sum: sum.sum, low }, (low - self.low == sum.low) & (low - sum.low == self.low))
    }

    /// Two floats that overlap have less room than they might.
    #[cold]
    fn plus_from_anew(self, value: f64) -> Self {
        let tidy = two_sum(self.sum, self.low);
        let sum = two_sum(tidy.sum, value);
        let low = two_sum(tidy.low, sum.low);
        Self { sum: sum.sum, low: if low.low == 0.0 { low.sum } else { f64::NAN } }
    }

    /// Adds a value. What has no place in two floats is rounded away; what is not finite is added by IEEE 754.
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

    /// Whether it is the sum to the last bit.
    pub(crate) fn is_exact(self) -> bool {
        self.sum.is_finite() && !self.low.is_nan()
    }

    /// The sum, rounded once.
    pub(crate) fn value(self) -> f64 {
        if self.low.is_nan() { self.sum } else { self.sum + self.low }
    }
}

/// The rounded sum of two floats, and what rounding took.
#[inline]
fn two_sum(a: f64, b: f64) -> Pair {
    let sum = a + b;
    let of_b = sum - a;
    Pair { sum, low: (a - (sum - of_b)) + (b - of_b) }
}

/// Exact sum of any floats: the finite ones as one integer, in units of the least positive float; the others counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExactSum {
    /// Two's complement, the lowest first.
    limbs: Vec<u64>,
    nan: u64,
    infinite: u64,
    minus_infinite: u64,
}

/// 2^1024 is 2^2098 units; 64 bits more are for as many values as can be counted, one for the sign.
const LIMBS: usize = (2098 + 64_usize + 1).div_ceil(64);
/// The exponent of a unit.
const UNIT: i32 = -1074;

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: vec![0; LIMBS], nan: 0, infinite: 0, minus_infinite: 0 }
    }
}

impl ExactSum {
    /// What an exact pair holds.
    pub(crate) fn of(pair: Pair) -> Self {
        let mut sum = Self::default();
        sum.add(pair.sum);
        sum.add(pair.low);
        sum
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        match self.special(value) {
            Some(count) => *count += 1,
            None => self.add_finite(value),
        }
    }

    /// Takes away a value that was added.
    pub(crate) fn remove(&mut self, value: f64) {
        match self.special(value) {
            Some(count) => *count = count.saturating_sub(1),
            None => self.add_finite(-value),
        }
    }

    /// Adds all that another one holds.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (limb, added) in self.limbs.iter_mut().zip(&other.limbs) {
            (*limb, carry) = limb.carrying_add(*added, carry);
        }
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.minus_infinite += other.minus_infinite;
    }

    /// The count of values like this, unless it is finite.
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

    fn add_finite(&mut self, value: f64) {
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
        let (mantissa, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | (1 << 52), exponent as usize - 1) };
        let placed = u128::from(mantissa) << (shift % 64);
        let mut parts = [placed as u64, (placed >> 64) as u64].into_iter();
        let mut carry = false;
        for limb in self.limbs.iter_mut().skip(shift / 64) {
            let part = parts.next();
            if part.is_none() && !carry {
                return;
            }
            let part = part.unwrap_or(0);
            (*limb, carry) =
                if value.is_sign_negative() { limb.borrowing_sub(part, carry) } else { limb.carrying_add(part, carry) };
        }
    }

    /// What the values that are not finite make of the sum: by IEEE 754, whatever their order.
    fn not_finite(&self) -> Option<f64> {
        match (self.nan > 0, self.infinite > 0, self.minus_infinite > 0) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// The sum, rounded once; infinite where that is beyond the floats.
    pub(crate) fn value(&self) -> f64 {
        let (mantissa, exponent) = self.rounded();
        self.not_finite().unwrap_or_else(|| scaled(mantissa, exponent))
    }

    /// The mean of so many values, also where their sum is beyond the floats.
    pub(crate) fn mean(&self, count: u64) -> f64 {
        let (mantissa, exponent) = self.rounded();
        self.not_finite().unwrap_or_else(|| scaled(mantissa / count as f64, exponent))
    }

    /// The sum as a pair, exact where it can be.
    pub(crate) fn pair(&self) -> Pair {
        let sum = self.value();
        if !sum.is_finite() {
            return Pair { sum, low: f64::NAN };
        }
        let mut rest = self.clone();
        rest.add_finite(-sum);
        let low = rest.value();
        rest.add_finite(-low);
        Pair { sum, low: if rest.limbs.iter().all(|limb| *limb == 0) { low } else { f64::NAN } }
    }

    /// The finite values' sum in 53 bits, and the exponent of what these count.
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
        // 64 bits from the highest one on. That others follow is all that rounding has to know of them.
        let shift = high.leading_zeros();
        let (bits, cut) =
            if shift == 0 { (high, *next) } else { (high << shift | next >> (64 - shift), next << shift) };
        let more = cut != 0 || lower.iter().any(|limb| *limb != 0);
        let exponent = (top * 64) as i32 - shift as i32 + UNIT;
        (sign * (bits | u64::from(more)) as f64, exponent)
    }
}

/// `mantissa` × 2^`exponent`, of at most some 64 bits and whatever exponent a sum may have.
fn scaled(mantissa: f64, exponent: i32) -> f64 {
    let power = |exponent: i32| f64::from_bits(((1023 + exponent) as u64) << 52);
    // In two steps: one alone may be out of range where the result is not.
    mantissa * power(exponent / 2) * power(exponent - exponent / 2)
}

#[cfg(test)]
mod tests;
