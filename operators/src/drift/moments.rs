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
    pub(super) fn add(&mut self, value: f64) {
        self.sum.add(value);
        let square = value * value;
        self.squares.add(square);
        // The part that rounding took from the square. It depends on the value alone, so that an overflow or underflow
        // here does not make the sum depend on the order either.
        if square.is_finite() {
            self.squares.add(value.mul_add(value, -square));
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
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
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
