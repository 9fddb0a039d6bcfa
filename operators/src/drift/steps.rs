//! The two distribution functions, side by side: their largest distance, and the area between them.

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
    let total = |side: &[(f64, u64)]| side.iter().map(|(_, count)| i128::from(*count)).sum::<i128>();
    let (n, m) = (total(reference), total(window));
    let (mut left, mut right) = (reference.iter().peekable(), window.iter().peekable());
    let (mut of_left, mut of_right, mut before) = (0, 0, None);
    let mut found = Between { largest: 0, area: 0.0 };
    while let Some(at) = next(left.peek(), right.peek()) {
        let distance: i128 = of_left * m - of_right * n;
        found.largest = found.largest.max(distance.abs());
        if let Some(before) = before {
            found.area += distance.unsigned_abs() as f64 / (n as f64 * m as f64) * (at - before);
        }
        before = Some(at);
        of_left += left.next_if(|(value, _)| *value == at).map_or(0, |(_, count)| i128::from(*count));
        of_right += right.next_if(|(value, _)| *value == at).map_or(0, |(_, count)| i128::from(*count));
    }
    found
}

fn next(left: Option<&&(f64, u64)>, right: Option<&&(f64, u64)>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.0.min(right.0)),
        (left, right) => left.or(right).map(|at| at.0),
    }
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
    }
}
