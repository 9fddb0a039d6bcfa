//! Rows that send a forest down its branches: values at its thresholds and beside them, extremes, and missing values.

use super::forest::Forest;

/// Values that are special somewhere.
const EXTREMES: [f32; 10] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0, 1e-45, -1e-40, 1.0];

/// Returns rows of the forest's features, which are the same at each call.
pub(super) fn rows(forest: &Forest, rows: usize) -> Vec<f32> {
    let mut thresholds = vec![Vec::new(); forest.width];
    for (feature, threshold) in forest.thresholds() {
        if let Some(of_feature) = thresholds.get_mut(feature) {
            of_feature.push(threshold);
        }
    }
    let mut state = 11_u64;
    // Knuth's MMIX generator, of which the upper bits are random enough.
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let mut value = |of_feature: &Vec<f32>| match (next(16), of_feature.get(next(of_feature.len()))) {
        (0 | 1, _) => EXTREMES[next(EXTREMES.len())],
        (2..6, Some(threshold)) => *threshold,
        (6..9, Some(threshold)) => threshold.next_up(),
        (9..12, Some(threshold)) => threshold.next_down(),
        (12, _) => next(300) as f32,
        (13, _) => (next(1 << 20) as f32 / 1000.0 - 500.0) * 1e6,
        _ => next(1 << 20) as f32 / (1 << 20) as f32,
    };
    (0..rows).flat_map(|_| thresholds.iter().map(&mut value).collect::<Vec<_>>()).collect()
}
