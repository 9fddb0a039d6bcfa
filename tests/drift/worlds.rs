//! Reports and alerts of a stream do not depend on workers, order or crashes: they are those of a plain computation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::drift::{
    Baseline, Baselines, Chunk, Comparison, Distribution, DriftAlert, DriftCheck, DriftExt, DriftReport, DriftSettings,
    Method, Reference, SCORES, Threshold, Verdict,
};
use tidemill::infer::{ModelInfo, ModelRole};
use tidemill::prelude::*;
use tidemill::testing::Simulation;

features! {
    struct Seen { amount, age or NaN }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    version: u64,
    score: f32,
    seen: Seen,
}

/// Length of a window, in milliseconds.
const WINDOW: i64 = 100;
/// Number of windows.
const WINDOWS: i64 = 6;

fn baseline() -> Baseline {
    let numbers = |values: &[f64]| {
        let mut all = Distribution::default();
        values.iter().for_each(|value| all.add(Some(*value)));
        all
    };
    let even: Vec<f64> = (0..400).map(|at| f64::from(at) / 400.0).collect();
    let features = ["amount", "age"].map(|name| (name.to_owned(), Reference::Numbers(numbers(&even))));
    // As large as windows are, and not even: thresholds are learned from them.
    let chunk = |at: usize| {
        let some: Vec<f64> = (0..33).map(|place| even[(at * 33 + place) * 7919 % 1009 % 400]).collect();
        Chunk { features: [("amount".to_owned(), Reference::Numbers(numbers(&some)))].into(), scores: None }
    };
    Baseline {
        features: features.into(),
        scores: Some(numbers(&even)),
        checks: [("amount".to_owned(), DriftCheck { threshold: Threshold::Learned, ..settings().check })].into(),
        chunks: (0..10).map(chunk).collect(),
        ..Baseline::default()
    }
}

/// Computes the threshold that the chunks have learned for the amount.
fn learned(baseline: &Baseline) -> f64 {
    let of = |features: &BTreeMap<String, Reference>| match &features["amount"] {
        Reference::Numbers(numbers) => numbers.clone(),
        Reference::Categories(_) => panic!("amounts are numbers"),
    };
    let whole = of(&baseline.features);
    let statistic = |chunk: &Chunk| settings().check.values(&whole, &of(&chunk.features)).unwrap().value;
    let statistics: Vec<f64> = baseline.chunks.iter().map(statistic).collect();
    let mean = statistics.iter().sum::<f64>() / 10.0;
    mean + 3.0 * (statistics.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 10.0).sqrt()
}

fn baseline_of(info: &ModelInfo) -> Result<Baseline, String> {
    if info.version == Some(3) { Err("it has none".to_owned()) } else { Ok(baseline()) }
}

fn settings() -> DriftSettings {
    DriftSettings {
        window: Duration::from_millis(WINDOW as u64),
        min_records: 20,
        check: DriftCheck { method: Some(Method::Psi), threshold: 0.3.into(), ..DriftCheck::default() },
        missing_threshold: 0.3,
        ..DriftSettings::default()
    }
}

#[derive(Default)]
struct Counted {
    drifted: AtomicU64,
    steady: AtomicU64,
    inconclusive: AtomicU64,
    began: AtomicU64,
    ended: AtomicU64,
    crashes: AtomicU64,
}

#[test]
fn reports_and_alerts_are_those_of_a_plain_computation_whatever_crashes() {
    let counted = Counted::default();
    Simulation::check(100, |sim| one_run(sim, &counted));
    let Counted { drifted, steady, inconclusive, began, ended, crashes } = counted;
    let all = [drifted, steady, inconclusive, began, ended, crashes].map(AtomicU64::into_inner);
    println!("drifted, steady, inconclusive, alerts that began and ended, crashes: {all:?}");
    assert!(std::env::var_os("TIDEMILL_SEED").is_some() || all.iter().all(|count| *count > 10), "{all:?}");
}

fn one_run(sim: &mut Simulation, counted: &Counted) {
    let source = sim.source();
    let (reports, alerts) = (sim.sink::<DriftReport>(), sim.sink::<DriftAlert>());
    let mut all: BTreeMap<(u64, i64), Vec<Payment>> = BTreeMap::new();
    // In some windows the amounts are moved, or ages are missing.
    let moved: Vec<f64> = (0..WINDOWS).map(|_| f64::from(sim.draw(0..2)) * 0.8).collect();
    let gaps: Vec<u32> = (0..WINDOWS).map(|_| sim.draw(0..2) * 6).collect();
    for at in 0..WINDOWS * WINDOW {
        let window = at / WINDOW;
        let even = |sim: &mut Simulation| f64::from(sim.draw(0..1000)) / 1000.0;
        let age = (sim.draw(0..10) >= gaps[window as usize]).then(|| even(sim));
        let payment = Payment {
            version: sim.draw(1..4),
            score: even(sim) as f32,
            seen: Seen { amount: even(sim) + moved[window as usize], age },
        };
        all.entry((payment.version, window)).or_default().push(payment.clone());
        source.push_to(sim.draw(0..2), at, payment);
        if sim.draw(0..10) == 0 {
            (0..2).for_each(|partition| source.watermark_of(partition, at));
        }
    }
    let (from, to, alerted) = (source.clone(), reports.clone(), alerts.clone());
    let report = sim.run(move |flow| {
        let payments = flow.source("payments", &from)?;
        let scored = payments.map(|payment: Payment| Scored {
            score: payment.score,
            origin: ScoreOrigin::Model,
            model: Some(std::sync::Arc::new(ModelInfo { version: Some(payment.version), ..ModelInfo::new("m", "0") })),
            role: ModelRole::Primary,
            record: payment,
        });
        let found =
            scored.drift("drift", &Baselines::found_by(baseline_of), &settings(), |payment: &Payment| &payment.seen)?;
        found.records.sink("records", &NullSink::default())?;
        found.reports.sink("reports", &to)?;
        found.alerts.sink("alerts", &alerted)
    });
    counted.crashes.fetch_add(u64::from(report.crashes), Ordering::Relaxed);
    let mut found: Vec<DriftReport> = reports.output();
    found.sort_by(|a, b| (a.start, &a.model, &a.feature).cmp(&(b.start, &b.model, &b.feature)));
    let wanted = expected(&all);
    assert_eq!(found, wanted);
    for report in &found {
        let count = match report.verdict {
            Verdict::Drifted => &counted.drifted,
            Verdict::Steady => &counted.steady,
            Verdict::Inconclusive => &counted.inconclusive,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
    let mut found: Vec<DriftAlert> = alerts.output();
    found.sort_by(|a, b| {
        (a.report.start, &a.report.model, &a.report.feature).cmp(&(b.report.start, &b.report.model, &b.report.feature))
    });
    assert_eq!(found, expected_alerts(&wanted));
    for alert in found {
        let count = if alert.firing { &counted.began } else { &counted.ended };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Computes the reports with lists of all values.
fn expected(all: &BTreeMap<(u64, i64), Vec<Payment>>) -> Vec<DriftReport> {
    let baseline = baseline();
    let check = settings().check;
    let mut reports = Vec::new();
    for ((version, window), payments) in all {
        let records = payments.len() as u64;
        let columns: [(&str, Vec<Option<f64>>); 3] = [
            ("age", payments.iter().map(|payment| payment.seen.age).collect()),
            ("amount", payments.iter().map(|payment| Some(payment.seen.amount)).collect()),
            (SCORES, payments.iter().map(|payment| Some(f64::from(payment.score))).collect()),
        ];
        for (name, values) in columns {
            let mut seen = Distribution::default();
            values.iter().rev().for_each(|value| seen.add(*value));
            let reference = match baseline.features.get(name) {
                Some(Reference::Numbers(reference)) => reference,
                _ => baseline.scores.as_ref().unwrap(),
            };
            let (start, end) = (EventTime(window * WINDOW), EventTime((window + 1) * WINDOW));
            let missing = values.iter().filter(|value| value.is_none()).count() as f64 / records as f64;
            let (mut compared, mut threshold) = (check.values(reference, &seen), 0.3);
            if name == "amount" {
                threshold = learned(&baseline);
                compared = compared.map(|found| Comparison { drifted: found.value > threshold, ..found });
            }
            let (few, has_none) = (records < 20, *version == 3);
            let drifted = missing >= 0.3 || compared.as_ref().is_ok_and(|found| found.drifted);
            let empty = DriftReport {
                model: format!("m/{version}@0"),
                feature: name.to_owned(),
                start,
                end,
                verdict: Verdict::Inconclusive,
                reason: Some("it has none".to_owned()),
                method: None,
                value: None,
                threshold: None,
                distance: None,
                records,
                n: 0,
                n_reference: 0,
                missing_share: 0.0,
                missing_share_reference: 0.0,
                mean: None,
                mean_reference: None,
            };
            if has_none {
                reports.push(empty);
                continue;
            }
            let few_records = format!("{records} records, and at least 20 are needed");
            let reason = match (&compared, few) {
                (_, true) => Some(few_records),
                (Err(_), false) if missing >= 0.3 => None,
                (Err(error), false) => Some(error.to_string()),
                (Ok(_), false) => None,
            };
            reports.push(DriftReport {
                verdict: match (few, drifted) {
                    (true, _) => Verdict::Inconclusive,
                    (false, true) => Verdict::Drifted,
                    (false, false) => Verdict::Steady,
                },
                reason,
                method: compared.is_ok().then_some(Method::Psi),
                value: compared.as_ref().ok().map(|found| found.value),
                threshold: compared.is_ok().then_some(threshold),
                n: seen.count(),
                n_reference: 400,
                missing_share: missing,
                mean: seen.mean(),
                mean_reference: reference.mean(),
                ..empty
            });
        }
    }
    reports.sort_by(|a, b| (a.start, &a.model, &a.feature).cmp(&(b.start, &b.model, &b.feature)));
    reports
}

/// Two windows in a row say that drift begins, or that it ends.
fn expected_alerts(reports: &[DriftReport]) -> Vec<DriftAlert> {
    let mut runs: BTreeMap<(&str, &str), (bool, u32)> = BTreeMap::new();
    let mut alerts = Vec::new();
    for report in reports.iter().filter(|report| report.verdict != Verdict::Inconclusive) {
        let drifted = report.verdict == Verdict::Drifted;
        let (firing, others) = runs.entry((&report.model, &report.feature)).or_default();
        *others = if drifted == *firing { 0 } else { *others + 1 };
        if *others == 2 {
            (*firing, *others) = (drifted, 0);
            alerts.push(DriftAlert { firing: drifted, windows: 2, report: report.clone() });
        }
    }
    alerts
}
