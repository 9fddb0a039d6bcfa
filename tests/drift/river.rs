//! Detectors fire at the rows at which river 0.26.1 does.

use serde_json::{Value, json};
use tidemill::drift::{Adwin, Ddm, Detector, Level, PageHinkley, PageHinkleySettings};

/// Returns the rows of drifts, and those of warnings.
fn fires(mut detector: Detector, values: &[f64]) -> (Vec<u64>, Vec<u64>) {
    let (mut drifts, mut warnings) = (Vec::new(), Vec::new());
    for (row, value) in values.iter().enumerate() {
        match detector.update(*value).map(|found| found.level) {
            Some(Level::Drift) => drifts.push(row as u64),
            Some(Level::Warning) => warnings.push(row as u64),
            None => {}
        }
    }
    (drifts, warnings)
}

/// The stream of `make_online.py`.
fn stream(seed: u64, n: u64, kind: &str) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / 2f64.powi(53)
    };
    let mut level = 0.3;
    let values = (0..n).map(|i| {
        if i % 700 == 699 {
            level = next();
        }
        let uniform = next();
        if kind == "real" { uniform + level } else { f64::from(u8::from(uniform < level)) }
    });
    values.collect()
}

#[test]
fn detectors_fire_where_those_of_river_do() {
    let expected: Value = serde_json::from_str(include_str!("river_0_26_1.json")).unwrap();
    let (mut runs, mut drifts_seen, mut warnings_seen) = (0, 0, 0);
    for run in expected["runs"].as_array().unwrap() {
        let settings = run["params"].clone();
        let detector = match run["detector"].as_str().unwrap() {
            "adwin" => Detector::Adwin(Adwin::new(serde_json::from_value(settings).unwrap()).unwrap()),
            "page_hinkley" => {
                Detector::PageHinkley(PageHinkley::new(serde_json::from_value(settings).unwrap()).unwrap())
            }
            "ddm" => Detector::Ddm(Ddm::new(serde_json::from_value(settings).unwrap()).unwrap()),
            other => panic!("{other}"),
        };
        let (seed, n) = (run["seed"].as_u64().unwrap(), run["n"].as_u64().unwrap());
        let (drifts, warnings) = fires(detector, &stream(seed, n, run["kind"].as_str().unwrap()));
        assert_eq!(json!(drifts), run["drifts"], "{run}");
        let ends = (warnings.first().copied().unwrap_or(0), warnings.last().copied().unwrap_or(0));
        assert_eq!(json!([warnings.len(), warnings.iter().sum::<u64>(), ends.0, ends.1]), run["warnings"], "{run}");
        runs += 1;
        drifts_seen += drifts.len();
        warnings_seen += warnings.len();
    }
    println!("{runs} runs, {drifts_seen} drifts, {warnings_seen} warnings");
    assert!(runs == 80 && drifts_seen > 800 && warnings_seen > 20_000);
}

#[test]
fn detectors_fire_where_those_of_the_reference_do() {
    let expected: Value = serde_json::from_str(&super::read("online.json")).unwrap();
    let expected = &expected["detections_on_sgd_immediate_log_loss"];
    let losses = losses_of_sgd(&super::read("online.csv"));
    let page_hinkley = |threshold| {
        Detector::PageHinkley(PageHinkley::new(PageHinkleySettings { threshold, ..Default::default() }).unwrap())
    };
    let adwin = || Detector::Adwin(Adwin::default());
    assert_eq!(json!(fires(adwin(), &losses).0), expected["adwin"]);
    assert_eq!(json!(fires(page_hinkley(50.0), &losses).0), expected["page_hinkley"]);
    assert_eq!(json!(fires(page_hinkley(20.0), &losses).0), expected["page_hinkley_threshold_20"]);
    let step: Vec<f64> =
        (0..2000).map(|i| if i < 1000 { 0.2 } else { 0.8 } + (f64::from(i * 7919 % 100) - 50.0) / 500.0).collect();
    assert_eq!(json!(fires(adwin(), &step).0), expected["step_adwin"]);
    assert_eq!(expected["step_adwin"], json!([1023]));
}

/// Returns the loss of each prediction of a logistic regression that learns row by row (`check.py`).
fn losses_of_sgd(data: &str) -> Vec<f64> {
    let (mut weights, mut intercept) = ([0.0; 4], 0.0);
    let losses = data.lines().skip(1).map(|line| {
        let row: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let (x, y) = (&row[1..5], row[5]);
        let z: f64 = weights.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>() + intercept;
        let p = if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) };
        weights.iter_mut().zip(x).for_each(|(weight, x)| *weight -= 0.01 * (p - y) * x);
        intercept -= 0.01 * (p - y);
        -(if y == 1.0 { p } else { 1.0 - p }).clamp(1e-15, 1.0).ln()
    });
    let losses: Vec<f64> = losses.collect();
    assert_eq!(losses.len(), 6000);
    losses
}
