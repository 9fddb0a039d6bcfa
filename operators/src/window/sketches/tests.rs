//! Quantiles of any values are compared with the sorted values.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use testkit::exact::{same, value};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn quantiles_are_those_of_the_sorted_values(
        values in prop::collection::vec(value(), 0..40),
        cut in any::<Index>(),
        quantiles in prop::collection::vec(0.0..=1.0_f64, 3),
    ) {
        let quantiles = [vec![0.0, 1.0], quantiles].concat();
        let aggregate = quantiles_of(&quantiles, |value: &f64| *value);
        let cut = cut.index(values.len() + 1);
        let [mut sketch, other] = [&values[..cut], &values[cut..]].map(|values| {
            let mut sketch = aggregate.empty();
            values.iter().for_each(|value| aggregate.add(&mut sketch, value));
            sketch
        });
        aggregate.merge(&mut sketch, &other);
        let estimated = aggregate.finish(&sketch);
        prop_assert_eq!(estimated.count, values.len() as u64);
        prop_assert_eq!(estimated.values.len(), if values.is_empty() { 0 } else { quantiles.len() });
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        for (q, estimated) in quantiles.iter().zip(estimated.values) {
            let right = match values.iter().any(|value| value.is_nan()) {
                true => f64::NAN,
                false => sorted[(q * (sorted.len() - 1) as f64) as usize],
            };
            // If the values span more orders of magnitude than the sketch can, the lowest ones are estimated too high:
            // it is only certain that the estimates are within the range of the values.
            let magnitudes = values.iter().filter(|v| v.is_finite() && v.abs() >= f64::MIN_POSITIVE).map(|v| v.abs().log10());
            let span = magnitudes.clone().fold(f64::MIN, f64::max) - magnitudes.fold(f64::MAX, f64::min);
            let near = (estimated - right).abs() <= 0.0101 * right.abs() + f64::MIN_POSITIVE;
            let finite: Vec<f64> = sorted.iter().copied().filter(|v| v.is_finite()).collect();
            let among = || estimated >= finite[0] && estimated <= finite[finite.len() - 1];
            prop_assert!(same(estimated, right) || near || (right.is_finite() && span > 17.0 && among()),
                "{} of {:?} is not {} but {}", q, values, right, estimated);
        }
    }
}
