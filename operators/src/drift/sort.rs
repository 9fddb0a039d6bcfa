//! Sorting of floats by where they are between the smallest and the largest, as in a bucket sort: of thousands of values
//! that are spread in some way, it takes half the time of a sort that compares them. What a few places hold nearly all of
//! is left to that sort.

use crate::buckets::ordered;

/// Fewer items are compared.
const FEW: usize = 64;
/// The most places, in bits: they fit into the nearest cache of a processor.
const PLACES: u32 = 13;

/// Returns items by their values, from the smallest to the largest. Items of equal value have no order.
pub(super) fn sorted<T: Copy>(items: &[T], value: impl Fn(&T) -> f64) -> Vec<T> {
    let key = |item: &T| ordered(value(item));
    let mut all = items.to_vec();
    // Values of training data are stored in their order.
    if items.len() < FEW || items.is_sorted_by_key(key) {
        all.sort_unstable_by_key(key);
        return all;
    }
    let (min, max) = items.iter().map(key).fold((u64::MAX, 0), |(min, max), key| (min.min(key), max.max(key)));
    let bits = items.len().ilog2().min(PLACES);
    let shift = (64 - (max - min).leading_zeros()).saturating_sub(bits);
    let place = |item: &T| ((key(item) - min) >> shift) as usize;
    let mut next = vec![0; ((max - min) >> shift) as usize + 1];
    items.iter().for_each(|item| next[place(item)] += 1);
    let mut sum = 0;
    next.iter_mut().for_each(|count| sum += std::mem::replace(count, sum));
    for item in items {
        let to = &mut next[place(item)];
        all[*to] = *item;
        *to += 1;
    }
    // Each place ends where its next item would have gone.
    let mut begin = 0;
    for end in next {
        all[begin..end].sort_unstable_by_key(key);
        begin = end;
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn items_are_in_the_order_of_a_sort_that_compares_them(
            values in prop::collection::vec(
                prop_oneof![any::<f64>(), -9.0..9.0f64, (0..20).prop_map(f64::from), Just(f64::MAX), Just(-f64::MAX)],
                0..600,
            ),
        ) {
            let mut expected: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
            let found = sorted(&expected, |value| *value);
            expected.sort_by(f64::total_cmp);
            let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(found), bits(expected));
        }
    }

    #[test]
    fn what_has_no_spread_is_sorted() {
        assert_eq!(sorted(&[3.5; 100], |value| *value), [3.5; 100]);
        let one_apart: Vec<f64> =
            (0..100).map(|at| if at == 50 { -1e300 } else { f64::from(100 - at) * 1e-300 }).collect();
        let found = sorted(&one_apart, |value| *value);
        assert!(found.is_sorted() && found[0] == -1e300);
        assert!(sorted(&[], |value: &f64| *value).is_empty());
    }
}
