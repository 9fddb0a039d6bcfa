//! Estimates without labels against the formulas of NannyML 0.13.1, on a calibration of scikit-learn.

use serde_json::Value;
use tidemill::drift::{Calibration, ExpectedQuality};

#[test]
fn estimates_are_those_of_nannyml() {
    let expected: Value = serde_json::from_str(include_str!("estimates.json")).unwrap();
    let mut state = 3u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / 2f64.powi(53)
    };
    let records: Vec<(f64, bool)> = (0..3000)
        .map(|i| {
            let score = next();
            let score = if i % 2 == 1 { (score * 100.0).round() / 100.0 } else { score };
            (score, next() < 0.1 + 0.7 * score * score)
        })
        .collect();
    let calibration = Calibration::fit(records).unwrap();
    let scores: Vec<f64> = (0..5000).map(|_| (next() * 1.2 - 0.1).clamp(0.0, 1.0)).collect();
    let mut quality = ExpectedQuality::default();
    scores.iter().for_each(|score| quality.add(*score, calibration.probability(*score), *score >= 0.5));
    let probabilities = expected["probabilities"].as_array().unwrap();
    assert_eq!(probabilities.len(), 300);
    for (score, expected) in scores.iter().zip(probabilities) {
        let (value, expected) = (calibration.probability(*score), expected.as_f64().unwrap());
        assert!((value - expected).abs() < 1e-12, "{score}: {value} {expected}");
    }
    // Scores within a thousandth are in no order.
    let found = [
        ("accuracy", quality.accuracy(), 1e-9),
        ("precision", quality.precision(), 1e-9),
        ("recall", quality.recall(), 1e-9),
        ("roc_auc", quality.roc_auc(), 1e-5),
    ];
    for (name, value, tolerance) in found {
        let (value, expected) = (value.unwrap(), expected[name].as_f64().unwrap());
        println!("{name}: {value} {expected} {:.1e}", (value - expected).abs());
        assert!((value - expected).abs() < tolerance, "{name}: {value} {expected}");
    }
}
