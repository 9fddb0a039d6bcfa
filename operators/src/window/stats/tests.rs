//! Statistics of any values in any order are compared with those computed from all values at once.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use testkit::exact::{self as oracle, same, value};

/// Computes the statistics of all values at once, by the rules of [`Stats`].
fn check(stats: Stats, values: &[f64]) -> Result<(), TestCaseError> {
    let (count, sum) = (values.len() as f64, oracle::sum(values));
    let (nan, finite) = (values.iter().any(|v| v.is_nan()), values.iter().all(|v| v.is_finite()));
    let extreme = |least: fn(f64, f64) -> f64, none: f64| match nan {
        true => f64::NAN,
        false => values.iter().copied().fold(none, least),
    };
    prop_assert_eq!(stats.count(), values.len() as u64);
    prop_assert!(same(stats.sum(), sum), "sum {} is not {}: {:?}", stats.sum(), sum, values);
    prop_assert!(same(stats.min(), extreme(f64::min, f64::INFINITY)), "{:?} of {:?}", stats, values);
    prop_assert!(same(stats.max(), extreme(f64::max, f64::NEG_INFINITY)), "{:?} of {:?}", stats, values);
    if values.is_empty() {
        prop_assert_eq!((stats.mean(), stats.std()), (0.0, 0.0));
        return Ok(());
    }
    if !finite {
        prop_assert!(same(stats.mean(), sum) && stats.std().is_nan(), "{:?} of {:?}", stats, values);
        return Ok(());
    }
    let halves: Vec<f64> = values.iter().map(|value| value / 1024.0).collect();
    let mean = if sum.is_finite() { sum / count } else { oracle::sum(&halves) / count * 1024.0 };
    prop_assert!((stats.mean() - mean).abs() <= 1e-14 * mean.abs() + 1e-300, "mean {} of {:?}", stats.mean(), values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let std = (squares / count).sqrt();
    let digits = values.iter().fold(1e-150, |most: f64, value| most.max(value.abs())) * 1e-14;
    prop_assert!(
        same(stats.std(), std) || (stats.std() - std).abs() <= 1e-6 * std + digits,
        "std {} is not {}: {:?}",
        stats.std(),
        std,
        values
    );
    Ok(())
}

fn stats_of_all<'v>(values: impl IntoIterator<Item = &'v f64>) -> ExactStats {
    let mut stats = ExactStats::default();
    values.into_iter().for_each(|value| stats.add(*value));
    stats
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn statistics_are_right_for_any_values_in_any_order(values in prop::collection::vec(value(), 0..40), cuts in any::<(Index, Index)>()) {
        let [a, b] = [cuts.0, cuts.1].map(|cut| cut.index(values.len() + 1));
        let parts = [&values[..a.min(b)], &values[a.min(b)..a.max(b)], &values[a.max(b)..]].map(stats_of_all);
        let [mut in_order, mut others_first] = [&parts[0], &parts[2]].map(ExactStats::clone);
        in_order.merge(&parts[1]);
        in_order.merge(&parts[2]);
        others_first.merge(&parts[0]);
        others_first.merge(&parts[1]);
        for stats in [stats_of_all(&values), stats_of_all(values.iter().rev()), in_order, others_first] {
            check(stats.stats(), &values)?;
        }
    }

    /// Statistics without an exact sum beside them: usual counts and measurements need none.
    #[test]
    fn statistics_alone_are_exact_of_usual_values(
        values in prop::collection::vec(prop_oneof![
            9 => (-1_000_000_000..1_000_000_000_i64).prop_map(|n| n as f64),
            9 => (-1_000_000..1_000_000_i32).prop_map(|cents| f64::from(cents) / 100.0),
            1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ], 0..60),
        cut in any::<Index>(),
    ) {
        let cut = cut.index(values.len() + 1);
        let [mut left, right] = [&values[..cut], &values[cut..]].map(|values| {
            let mut stats = Stats::default();
            values.iter().for_each(|value| stats.add(*value));
            stats
        });
        left.merge(&right);
        check(left, &values)?;
    }
}

/// Records of four values, some of which are of any kind, and an index at which the records are split.
fn records() -> impl Strategy<Value = Vec<[f64; 4]>> {
    let usual = || (-1_000_000..1_000_000_i32).prop_map(|cents| f64::from(cents) / 100.0);
    let unusual = prop_oneof![40 => usual(), 1 => value()];
    prop_oneof![
        prop::collection::vec(prop::array::uniform4(usual()), 0..60),
        prop::collection::vec(prop::array::uniform4(unusual), 0..60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_array_is_what_its_values_are_alone(records in records(), cut in any::<Index>()) {
        let cut = cut.index(records.len() + 1);
        let [(mut array, mut alone), (other, others)] = [&records[..cut], &records[cut..]].map(|records| {
            let (mut array, mut alone) = (StatsArray::default(), [Stats::default(); 4]);
            for record in records {
                array.add(record);
                alone.iter_mut().zip(record).for_each(|(stats, value)| stats.add(*value));
            }
            (array, alone)
        });
        array.merge(&other);
        alone.iter_mut().zip(&others).for_each(|(stats, other)| stats.merge(other));
        prop_assert_eq!(array.count(), records.len() as u64);
        // NaN is not equal to itself, but its text is.
        prop_assert_eq!(format!("{:?}", array.all()), format!("{alone:?}"));
        let text = bincode::serde::encode_to_vec(array, bincode::config::standard()).unwrap();
        let (again, _) = bincode::serde::decode_from_slice::<StatsArray<4>, _>(&text, bincode::config::standard()).unwrap();
        prop_assert_eq!(format!("{again:?}"), format!("{array:?}"));
        prop_assert!(bincode::serde::decode_from_slice::<StatsArray<3>, _>(&text, bincode::config::standard()).is_err());
    }
}

#[test]
fn extreme_values_have_the_right_statistics() {
    let stats = |values: &[f64]| stats_of_all(values).stats();
    assert_eq!(stats(&[1.0, 1.0, 5.0]).sum(), 7.0);
    let apart = stats(&[1.7e308, -1.7e308]);
    assert_eq!((apart.sum(), apart.mean(), apart.std()), (0.0, 0.0, f64::INFINITY));
    // The square of their distance is beyond the range, the sum of the squares of their deviations is not.
    for nearly in [[-1.5e154, 0.0], [0.0, -1.5e154]] {
        assert_eq!(stats(&nearly).std(), 7.5e153);
    }
    let beyond = stats(&[1.7e308, 1.7e308]);
    assert_eq!((beyond.sum(), beyond.mean(), beyond.std()), (f64::INFINITY, 1.7e308, 0.0));
    assert_eq!(stats(&[1.7e308, 1.7e308, -1.7e308]).sum(), 1.7e308);
    for infinite in [[f64::INFINITY, 1.0], [1.0, f64::INFINITY]] {
        let stats = stats(&infinite);
        assert_eq!(
            (stats.sum(), stats.mean(), stats.min(), stats.max()),
            (f64::INFINITY, f64::INFINITY, 1.0, f64::INFINITY)
        );
        assert!(stats.std().is_nan());
    }
    // The deviation of a constant is zero and its mean is the constant, although three times a tenth is not a float.
    let constant = stats(&[0.1; 3]);
    assert_eq!((constant.mean(), constant.std()), (0.1, 0.0));
}
