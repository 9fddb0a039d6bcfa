//! The exact sum of values and of their squares: the mean and the deviation do not depend on the order of the values.

use serde::{Deserialize, Serialize};

use crate::sum::ExactSum;

/// Exact sums of finite values and of their squares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    sum: ExactSum,
    squares: ExactSum,
}

impl Moments {
    /// Adds a value `times` times.
    pub(super) fn add(&mut self, value: f64, times: u64) {
        self.sum.add_times(value, times);
        let square = value * value;
        self.squares.add_times(square, times);
        // The part that rounding took from the square. It depends on the value alone, so that an overflow or underflow
        // here does not make the sum depend on the order either.
        if square.is_finite() {
            self.squares.add_times(value.mul_add(value, -square), times);
        }
    }

    /// Adds values with their counts. It is fast where neighbours have sign and exponent in common.
    pub(super) fn extend(&mut self, values: &[(f64, u64)]) {
        for run in values.chunk_by(|a, b| head(a.0) == head(b.0)) {
            let mut mantissas = Mantissas::default();
            for (value, count) in run {
                if is_usual(head(*value)) && *count <= MOST_TIMES {
                    mantissas.add(*value, *count);
                } else {
                    self.add(*value, *count);
                }
            }
            self.add_mantissas(run.first().map_or(0, |(value, _)| head(*value)), &mantissas);
        }
    }

    /// Adds what was summed of values with this sign and exponent, if they are usual ones.
    pub(super) fn add_mantissas(&mut self, head: usize, mantissas: &Mantissas) {
        let Mantissas { sum, squares, carried } = *mantissas;
        if is_usual(head) {
            let exponent = head & 0x7ff;
            self.sum.add_units(head >> 11 == 1, sum, exponent - 1);
            let shift = 2 * exponent - 1076;
            self.squares.add_units(false, squares, shift);
            self.squares.add_units(false, u128::from(carried), shift + 128);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self { sum, squares } = other;
        self.sum.merge(sum);
        self.squares.merge(squares);
    }

    /// Returns the mean of `count` values.
    pub(super) fn mean(&self, count: u64) -> f64 {
        self.sum.mean(count)
    }

    /// Returns the population standard deviation of `count` values: √(n Σx² − (Σx)²) / n, in two floats each, since the
    /// two may be equal in all digits of one. It is infinite if the squares are beyond the range of floats.
    pub(super) fn deviation(&self, count: u64) -> f64 {
        let n = count as f64;
        let ((sum, sum_low), (squares, squares_low)) = (in_two(&self.sum), in_two(&self.squares));
        let (left, left_low) = product(squares, n);
        let (right, right_low) = product(sum, sum);
        if !left.is_finite() || !right.is_finite() {
            return f64::INFINITY;
        }
        let low = (left_low + squares_low * n) - (right_low + 2.0 * sum * sum_low);
        ((left - right) + low).max(0.0).sqrt() / n
    }
}

/// Sums of values that have sign and exponent in common, as integers: an addition takes a few instructions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mantissas {
    sum: u128,
    squares: u128,
    /// How often `squares` overflowed.
    carried: u64,
}

/// The most times that a square of 106 bits can be added at once.
pub(super) const MOST_TIMES: u64 = 1 << 22;

impl Mantissas {
    /// Adds a value up to [`MOST_TIMES`] times.
    #[inline]
    pub(super) fn add(&mut self, value: f64, times: u64) {
        let mantissa = u128::from(value.to_bits() & ((1 << 52) - 1) | 1 << 52);
        self.sum += mantissa * u128::from(times);
        let (squares, carries) = self.squares.overflowing_add(mantissa * mantissa * u128::from(times));
        (self.squares, self.carried) = (squares, self.carried + u64::from(carries));
    }
}

/// Returns sign and exponent of a float, 12 bits.
#[inline]
pub(super) fn head(value: f64) -> usize {
    (value.to_bits() >> 52) as usize
}

/// Returns whether floats with this exponent, and their squares, are neither so large nor so small that floats lose
/// digits of them: 2^-485 to 2^512.
#[inline]
pub(super) fn is_usual(head: usize) -> bool {
    (538..=1534).contains(&(head & 0x7ff))
}

/// Returns a sum as a float, and what rounding took from it.
fn in_two(sum: &ExactSum) -> (f64, f64) {
    let high = sum.value();
    if !high.is_finite() {
        return (high, 0.0);
    }
    let mut rest = sum.clone();
    rest.remove(high);
    (high, rest.value())
}

/// Returns a product, and what rounding took from it.
fn product(a: f64, b: f64) -> (f64, f64) {
    let high = a * b;
    (high, a.mul_add(b, -high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_make_the_same_sums(
            values in prop::collection::vec(
                (prop_oneof![any::<f64>(), -9.0..9.0f64, Just(f64::MAX), Just(-(2f64.powi(512).next_down()))], 1..9u64),
                0..60,
            ),
            often in MOST_TIMES - 1..MOST_TIMES + 2,
        ) {
            let mut values: Vec<(f64, u64)> = values.into_iter().filter(|(value, _)| value.is_finite()).collect();
            let mut one_by_one = Moments::default();
            for (value, count) in &values {
                (0..*count).for_each(|_| one_by_one.add(*value, 1));
            }
            // So often that integers overflow.
            let (most, mut filled) = (2f64.next_down(), Mantissas::default());
            (0..3).for_each(|_| filled.add(most, MOST_TIMES));
            one_by_one.add(most, 3 * MOST_TIMES + often);
            values.extend([(most, often)]);
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut moments = Moments::default();
            moments.extend(&values);
            moments.add_mantissas(head(most), &filled);
            prop_assert_eq!(moments, one_by_one);
        }
    }

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value, 1));
        moments
    }

    #[test]
    fn mean_and_deviation_survive_cancellation() {
        let moments = of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((moments.mean(8), moments.deviation(8)), (5.0, 2.0));
        // The squares agree in 20 digits, more than a float has.
        let shifted =
            of(&[1e10 + 2.0, 1e10 + 4.0, 1e10 + 4.0, 1e10 + 4.0, 1e10 + 5.0, 1e10 + 5.0, 1e10 + 7.0, 1e10 + 9.0]);
        assert_eq!((shifted.mean(8), shifted.deviation(8)), (1e10 + 5.0, 2.0));
    }

    #[test]
    fn parts_in_any_order_make_the_same_sums() {
        let values = [1e300, 1.0, -1e300, 1e-300, 3.3, 1e200, -0.1];
        let whole = of(&values);
        let mut parts = of(&[1e200, -0.1, 1.0]);
        parts.merge(&of(&[1e-300, -1e300, 3.3, 1e300]));
        assert_eq!(whole, parts);
        assert_eq!(whole.deviation(7), f64::INFINITY);
    }
}
