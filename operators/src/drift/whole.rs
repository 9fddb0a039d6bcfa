//! Small whole numbers are counted in an array: most features that count something, and those that are yes or no. That takes
//! less than half the instructions of a hash table, and none of them waits for the last one.

/// Whole numbers below this one are small.
const SMALL: usize = 512;
/// Number of values that are looked at before all are.
const FEW: usize = 32;
/// At this size floats have no digits after the point: what is added to it is rounded, and stands in the lower bits.
const WHOLE: f64 = (1_u64 << 52) as f64;

/// Returns the different values with their counts if all are small whole numbers. None is -0.0.
pub(super) fn whole_counts(values: &[f64]) -> Option<impl Iterator<Item = (f64, u64)> + use<>> {
    if !(are_small(values.get(..FEW).unwrap_or(values)) && are_small(values)) {
        return None;
    }
    // Neighbours are often equal, and would wait for each other.
    let mut lanes = [[0_u32; SMALL]; 4];
    let (fours, rest) = values.as_chunks::<4>();
    for few in fours.iter().map(<[f64; 4]>::as_slice).chain([rest]) {
        for (lane, value) in lanes.iter_mut().zip(few) {
            lane[(value + WHOLE).to_bits() as usize % SMALL] += 1;
        }
    }
    let count = move |number: usize| lanes.iter().map(|lane| u64::from(lane[number])).sum::<u64>();
    let counts = (0..SMALL).map(move |number| (number as f64, count(number)));
    Some(counts.filter(|(_, count)| *count > 0))
}

/// Takes no branch for each value: one that is not small and whole leaves bits.
fn are_small(values: &[f64]) -> bool {
    let (size, fraction) = values.iter().fold((0, 0), |(size, fraction), value| {
        let sum = value + WHOLE;
        (size | (sum.to_bits() ^ WHOLE.to_bits()), fraction | ((sum - WHOLE).to_bits() ^ value.to_bits()))
    });
    size < SMALL as u64 && fraction == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[f64]) -> Option<Vec<(f64, u64)>> {
        whole_counts(values).map(Iterator::collect)
    }

    #[test]
    fn small_whole_numbers_are_counted() {
        assert_eq!(counts(&[]), Some(vec![]));
        assert_eq!(counts(&[511.0, 0.0, 3.0, 3.0, 0.0, 0.0, 3.0]), Some(vec![(0.0, 3), (3.0, 3), (511.0, 1)]));
        let many: Vec<f64> = (0..100_003).map(|at| f64::from(at % 7)).collect();
        let expected: Vec<_> = (0..7).map(|number| (f64::from(number), 14_286 + u64::from(number == 0))).collect();
        assert_eq!(counts(&many), Some(expected));
    }

    #[test]
    fn one_other_value_is_enough_that_none_is_counted() {
        let others =
            [512.0, -1.0, 0.5, 1e-300, -1e-300, 511.5, 4_503_599_627_370_496.0, 1e300, -1e300, f64::MAX, f64::MIN];
        for other in others {
            for at in [0, 31, 32, 99] {
                let mut values = [7.0; 100];
                values[at] = other;
                assert_eq!(counts(&values), None, "{other} at {at}");
            }
        }
    }
}
