//! The two distribution functions, side by side: their largest distance, and the area between them.

use std::ops::{AddAssign, Sub};

/// What is between the distribution functions of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Between {
    /// The largest distance of the two functions, times both numbers of values: a whole number.
    pub(super) largest: i128,
    /// The area between the two functions, in units of the values.
    pub(super) area: f64,
}

/// Returns what is between two samples, each of which is sorted, with counts, and not empty.
pub(super) fn between(reference: &[(f64, u64)], window: &[(f64, u64)]) -> Between {
    let total = |side: &[(f64, u64)]| side.iter().map(|(_, count)| count).sum::<u64>();
    let totals = (total(reference), total(window));
    // Half as many instructions for a step as with 128 bits.
    let is_small = i64::try_from(u128::from(totals.0) * u128::from(totals.1)).is_ok();
    if is_small { merged::<i64>(reference, window, totals) } else { merged::<i128>(reference, window, totals) }
}

/// A difference of counts of one side, each times the number of values of the other: a whole number.
trait Difference: Copy + Default + Ord + AddAssign + Sub<Output = Self> + Into<i128> {
    /// Returns the product if `counts`, and otherwise zero.
    fn product(count: u64, of_other: u64, counts: bool) -> Self;
    fn to_f64(self) -> f64;
}

impl Difference for i64 {
    #[inline]
    fn product(count: u64, of_other: u64, counts: bool) -> Self {
        (count * of_other * u64::from(counts)) as Self
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Difference for i128 {
    #[inline]
    fn product(count: u64, of_other: u64, counts: bool) -> Self {
        Self::from(count) * Self::from(of_other) * Self::from(counts)
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self as f64
    }
}

/// Goes through the values of both in their order. Which side has the next one is as good as random, so it takes no branch.
fn merged<T: Difference>(reference: &[(f64, u64)], window: &[(f64, u64)], (n, m): (u64, u64)) -> Between {
    let (mut left, mut right) = (reference, window);
    let (mut distance, mut largest, mut area, mut before) = (T::default(), T::default(), 0.0, None);
    let share = 1.0 / (n as f64 * m as f64);
    let mut go_to = |at: f64, more: T, less: T| {
        let between = distance.max(T::default() - distance);
        largest = largest.max(between);
        // The distance of two values may be infinite, and no area is more than that between them.
        area += between.to_f64() * share * (at - before.replace(at).unwrap_or(at)).min(f64::MAX);
        distance += more - less;
    };
    while let ([(of_left, count_left), ..], [(of_right, count_right), ..]) = (left, right) {
        let (is_left, is_right) = (of_left <= of_right, of_right <= of_left);
        go_to(of_left.min(*of_right), T::product(*count_left, m, is_left), T::product(*count_right, n, is_right));
        (left, right) = (&left[usize::from(is_left)..], &right[usize::from(is_right)..]);
    }
    left.iter().for_each(|(at, count)| go_to(*at, T::product(*count, m, true), T::default()));
    right.iter().for_each(|(at, count)| go_to(*at, T::default(), T::product(*count, n, true)));
    Between { largest: largest.into(), area }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_computed_by_hand() {
        // F of the first: 1/2 from 1, 1 from 3. Of the second: 1/3 from 2, 1 from 5.
        let found = between(&[(1.0, 1), (3.0, 1)], &[(2.0, 1), (5.0, 2)]);
        assert_eq!(found.largest, 4); // 1 - 1/3 = 4/6 from 3 on
        assert!((found.area - (0.5 + 1.0 / 6.0 + 2.0 * 2.0 / 3.0)).abs() < 1e-15);
        assert_eq!(between(&[(1.0, 2), (2.0, 4)], &[(1.0, 1), (2.0, 2)]), Between { largest: 0, area: 0.0 });
        assert_eq!(between(&[(1.0, 2)], &[(4.0, 5)]), Between { largest: 10, area: 3.0 });
        let huge = [(-f64::MAX, 500_000), (0.0, 1), (f64::MAX, 500_000)];
        assert_eq!(between(&huge, &huge), Between { largest: 0, area: 0.0 });
        assert!(between(&[(0.0, 1_000_000), (1e306, 2)], &[(0.0, 900_000), (1e306, 1)]).area.is_finite());
        // More than 64 bits have: 2^32 values of one side and 2^33 of the other.
        let many = between(&[(1.0, 1 << 31), (3.0, 1 << 31)], &[(2.0, 1 << 33)]);
        assert_eq!(many, Between { largest: 1 << 64, area: 1.0 });
    }
}
