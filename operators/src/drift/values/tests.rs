//! The order of values and the parts that they come in leave no trace.

use proptest::prelude::*;

use super::*;
use crate::drift::folded::{Folded, in_buckets};

fn of(exact_values: usize, values: &[Option<f64>]) -> Distribution {
    let mut distribution = Distribution::with_exact_values(exact_values);
    values.iter().for_each(|value| distribution.add(*value));
    distribution
}

fn bytes(distribution: &Distribution) -> Vec<u8> {
    bincode::serde::encode_to_vec(distribution, bincode::config::standard()).unwrap()
}

/// Values that repeat, are close to each other, or are of any size and kind.
fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        3 => (-4..40i32).prop_map(|value| Some(f64::from(value) * 0.25)),
        4 => (0.0..1.0f64).prop_map(Some),
        2 => any::<f64>().prop_map(Some),
        1 => prop::sample::select(vec![None, Some(f64::NAN), Some(f64::INFINITY), Some(-0.0), Some(f64::MAX)]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn order_and_parts_leave_no_trace_in_the_bytes(
        (values, shuffled) in prop::collection::vec(value(), 0..900)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        exact_values in 1..600usize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        first in any::<prop::sample::Index>(),
    ) {
        let whole = of(exact_values, &values);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len() + 1)).collect();
        ends.push(values.len());
        ends.sort_unstable();
        let mut from = 0;
        let mut next = |to: &usize| of(exact_values, &shuffled[std::mem::replace(&mut from, *to)..*to]);
        let mut parts: Vec<Distribution> = ends.iter().map(&mut next).collect();
        // Some parts were stored in between.
        parts.iter_mut().step_by(2).for_each(|part| {
            *part = bincode::serde::decode_from_slice(&bytes(part), bincode::config::standard()).unwrap().0;
        });
        let at = first.index(parts.len());
        let mut merged = parts.swap_remove(at);
        parts.iter().for_each(|part| merged.merge(part));
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(bytes(&merged), bytes(&whole));
        prop_assert_eq!(serde_json::to_string(&merged).unwrap(), serde_json::to_string(&whole).unwrap());
        let mut finite: Vec<f64> = values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        let mut at_once = Distribution::of(finite.clone(), exact_values);
        (at_once.missing, at_once.infinite) = (whole.missing, whole.infinite);
        prop_assert_eq!(bytes(&at_once), bytes(&whole));
        finite.sort_by(f64::total_cmp);
        finite.dedup();
        prop_assert_eq!(merged.is_exact(), finite.len() <= exact_values);
        let mut moments = Moments::default();
        let all = values.iter().flatten().filter(|value| value.is_finite());
        all.for_each(|value| moments.add(*value, 1));
        prop_assert_eq!(&merged.moments, &moments);
    }
}

#[test]
fn a_window_of_usual_size_leaves_no_trace_of_its_parts_either() {
    let value = |i: u32| Some(f64::from(i.wrapping_mul(2_654_435_769)).sqrt());
    let whole = of(Distribution::EXACT_VALUES, &(0..60_000).map(value).collect::<Vec<_>>());
    // One part is exact, one is folded, and one comes in another order.
    let part =
        |rows: &mut dyn Iterator<Item = u32>| of(Distribution::EXACT_VALUES, &rows.map(value).collect::<Vec<_>>());
    let (exact, folded) = (part(&mut (0..9000)), part(&mut (9000..30_000)));
    assert!(exact.is_exact() && !folded.is_exact());
    let mut merged = part(&mut (30_000..60_000).rev());
    merged.merge(&exact);
    merged.merge(&folded);
    assert_eq!(bytes(&merged), bytes(&whole));
    let mut merged = exact;
    merged.merge(&folded);
    merged.merge(&part(&mut (30_000..60_000)));
    assert_eq!(bytes(&merged), bytes(&whole));
}

#[test]
fn values_are_exact_until_there_are_too_many_different_ones() {
    let mut distribution = Distribution::with_exact_values(300);
    (0..100_000).for_each(|i| distribution.add(Some(f64::from(i % 300))));
    assert!(distribution.is_exact());
    let Settled::Exact(values) = &distribution.settled().settled else { unreachable!() };
    assert_eq!((values.len(), values[299]), (300, (299.0, 333)));
    let mean_before = distribution.mean();
    distribution.add(Some(1e6));
    distribution.add(None);
    distribution.add(Some(f64::NEG_INFINITY));
    assert!(!distribution.is_exact() && mean_before < distribution.mean());
    assert_eq!((distribution.count(), distribution.missing(), distribution.infinite()), (100_001, 1, 1));
    assert_eq!(distribution.range(), Some((0.0, 1e6)));
    let Settled::Folded(folded) = &distribution.settled().settled else { unreachable!() };
    assert_eq!(folded.buckets.iter().map(|(_, count)| count).sum::<u64>(), 100_001);
    assert_eq!(folded.distinct.estimate(), 301.0);
}

#[test]
fn an_empty_distribution_has_no_mean_and_no_range() {
    let empty = of(8, &[None, Some(f64::NAN)]);
    assert_eq!((empty.mean(), empty.deviation(), empty.range(), empty.missing()), (None, None, None, 2));
}

#[test]
fn of_two_limits_the_least_one_counts() {
    let values: Vec<Option<f64>> = (0..20).map(|i| Some(f64::from(i))).collect();
    let (mut large, mut small) = (of(100, &values), of(20, &[Some(0.5)]));
    let large_before = large.clone();
    large.merge(&small);
    small.merge(&large_before);
    assert_eq!(bytes(&large), bytes(&small));
    assert!(!large.is_exact());
}

#[test]
fn the_middle_of_a_bucket_is_between_the_least_and_the_largest_value() {
    let values = [(1.0, 2), (1.001, 3), (7.0, 1)];
    let middles = Folded::middles(&in_buckets(&values), 1.0, 7.0);
    assert_eq!(middles, [(1.0 + 0.5 / 256.0, 5), (7.0, 1)]);
}

#[test]
fn a_damaged_distribution_is_refused() {
    let mut distribution = Distribution::with_exact_values(3);
    [2.0, 1.0, 2.0].iter().for_each(|value| distribution.add(Some(*value)));
    let stored = serde_json::to_string(&distribution).unwrap();
    assert!(stored.contains("\"values\":[[1.0,1],[2.0,2]]"), "{stored}");
    assert_eq!(serde_json::from_str::<Distribution>(&stored).unwrap(), distribution);
    for (damaged, what) in [
        ("[[2.0,2],[1.0,1]]", "not sorted"),
        ("[[1.0,0],[2.0,2]]", "a count is zero"),
        ("[[1.0,18446744073709551615],[2.0,2]]", "too large"),
        ("[[1.0,1],[2.0,2],[3.0,1],[4.0,1]]", "more values than"),
    ] {
        let edited = stored.replace("[[1.0,1],[2.0,2]]", damaged);
        let error = serde_json::from_str::<Distribution>(&edited).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    [3.0, 4.0].iter().for_each(|value| distribution.add(Some(*value)));
    let folded = serde_json::to_string(&distribution).unwrap();
    assert_eq!(serde_json::from_str::<Distribution>(&folded).unwrap(), distribution);
    let error = serde_json::from_str::<Distribution>(&folded.replace("\"max\":4.0", "\"max\":0.5")).unwrap_err();
    assert!(error.to_string().contains("no range"), "{error}");
}
