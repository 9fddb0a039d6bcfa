//! Sums of any values are compared with sums computed digit by digit.

use proptest::prelude::*;

use super::*;
use testkit::exact::{self as oracle, same, value};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_exact_sum_equals_addition_digit_by_digit_whatever_was_removed(
        values in prop::collection::vec(value(), 0..40),
        leave in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (left, cut) = (leave.index(values.len() + 1), cut.index(values.len() + 1));
        let (mut sum, mut other) = (ExactSum::default(), ExactSum::default());
        values[..cut].iter().for_each(|value| sum.add(*value));
        values[cut..].iter().for_each(|value| other.add(*value));
        sum.merge(&other);
        prop_assert!(same(sum.value(), oracle::sum(&values)), "{} of {:?}", sum.value(), values);
        values[..left].iter().for_each(|value| sum.remove(*value));
        let stay = &values[left..];
        prop_assert!(same(sum.value(), oracle::sum(stay)), "{} of {:?}", sum.value(), stay);
        let pair = sum.pair();
        prop_assert!(same(pair.value(), sum.value()));
        if pair.is_exact() {
            prop_assert_eq!(&ExactSum::of(pair), &sum);
        }
    }

    #[test]
    fn a_pair_is_exact_or_says_that_it_is_not(values in prop::collection::vec(value(), 0..40)) {
        let mut pair = Pair::default();
        for at in 0..values.len() {
            pair = pair.plus(values[at]);
            if !pair.is_exact() {
                break;
            }
            let sum = oracle::sum(&values[..=at]);
            prop_assert!(same(pair.value(), sum), "{:?} is not {}", pair, sum);
        }
        // Usual amounts of money always fit in two floats.
        let cents: Vec<f64> = values.iter().copied().filter(|v| v.abs() < 1e9 && v.abs() >= 0.01).collect();
        let pair = cents.iter().fold(Pair::default(), |pair, value| pair.plus(*value));
        prop_assert!(pair.is_exact(), "{:?} of {:?}", pair, cents);
    }
}

#[test]
fn the_mean_is_right_where_the_sum_is_beyond_the_floats() {
    let mut sum = ExactSum::default();
    (0..3).for_each(|_| sum.add(f64::MAX));
    assert_eq!((sum.value(), sum.mean(3)), (f64::INFINITY, f64::MAX));
    sum.add(f64::NEG_INFINITY);
    assert_eq!((sum.value(), sum.mean(4)), (f64::NEG_INFINITY, f64::NEG_INFINITY));
}

#[test]
fn small_values_remain_when_large_ones_cancel_out() {
    let mut sum = ExactSum::default();
    [1e300, 1.0, 1e-300, -1e300, -1e-300].iter().for_each(|value| sum.add(*value));
    assert_eq!(sum.pair(), Pair { sum: 1.0, low: 0.0 });
}
