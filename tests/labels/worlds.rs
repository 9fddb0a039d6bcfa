//! What is joined and judged does not depend on workers, order or crashes: it is what a plain computation gives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::infer::{ModelInfo, ModelRole};
use tidemill::labels::{Labelled, LabelsExt, QualityExt, QualityReport, QualitySettings};
use tidemill::prelude::*;
use tidemill::testing::Simulation;

/// Length of a window, in milliseconds.
const WINDOW: i64 = 100;
/// How long a payment waits for its label.
const WAIT: i64 = 60;
const LENGTH: i64 = 600;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    id: u64,
    version: u64,
    is_canary: bool,
    score: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Label {
    id: u64,
    is_fraud: bool,
}

fn settings() -> QualitySettings {
    QualitySettings {
        window: Duration::from_millis(WINDOW as u64),
        threshold: 0.5,
        at_k: vec![1, 5],
        min_records: 10,
        rollout: None,
    }
}

#[derive(Default)]
struct Counted {
    labelled: AtomicU64,
    without: AtomicU64,
    unmatched: AtomicU64,
    reports: AtomicU64,
    few: AtomicU64,
    crashes: AtomicU64,
}

#[test]
fn labels_and_reports_are_those_of_a_plain_computation_whatever_crashes() {
    let counted = Counted::default();
    Simulation::check(100, |sim| one_run(sim, &counted));
    let Counted { labelled, without, unmatched, reports, few, crashes } = counted;
    let all = [labelled, without, unmatched, reports, few, crashes].map(AtomicU64::into_inner);
    println!("labelled, without a label, labels of nothing, reports, of few records, crashes: {all:?}");
    assert!(std::env::var_os("TIDEMILL_SEED").is_some() || all.iter().all(|count| *count > 10), "{all:?}");
}

fn one_run(sim: &mut Simulation, counted: &Counted) {
    let (payments, labels) = (sim.source::<Payment>(), sim.source::<Label>());
    let (joined, unmatched) = (sim.sink::<Labelled<Payment, Label>>(), sim.sink::<Label>());
    let reports = sim.sink::<QualityReport>();
    let mut all: Vec<(i64, Payment)> = Vec::new();
    let mut known: Vec<(i64, Label)> = Vec::new();
    for at in 0..LENGTH {
        // A third of the payments have the same id as another one.
        let id = sim.draw(0..600);
        let score = f64::from(sim.draw(0..21)) / 20.0;
        let payment = Payment { id, version: sim.draw(1..3), is_canary: sim.draw(0..2) == 0, score: score as f32 };
        all.push((at, payment.clone()));
        payments.push_to(sim.draw(0..2), at, payment);
        // Some labels come too late, some never, some twice, and some at the same moment.
        for _ in 0..sim.draw(0..3) {
            let known_at = at + sim.draw(0..WAIT * 5 / 4);
            let is_fraud = sim.draw(0..20) < (score * 20.0) as u64;
            known.push((known_at, Label { id, is_fraud }));
        }
    }
    // Of two labels of a payment at one moment it would be open which one comes first.
    known.sort_by_key(|(at, label)| (*at, label.id));
    known.dedup_by_key(|(at, label)| (*at, label.id));
    for (at, label) in &known {
        labels.push_to(sim.draw(0..2), *at, label.clone());
    }
    let (from, of, to, rest, quality) =
        (payments.clone(), labels.clone(), joined.clone(), unmatched.clone(), reports.clone());
    let report = sim.run(move |flow| {
        let payments = flow.source("payments", &from)?;
        let labels = flow.source("labels", &of)?;
        let scored = payments.map(|payment: Payment| Scored {
            score: payment.score,
            origin: ScoreOrigin::Model,
            model: Some(Arc::new(ModelInfo { version: Some(payment.version), ..ModelInfo::new("m", "0") })),
            role: if payment.is_canary { ModelRole::Canary } else { ModelRole::Primary },
            record: payment,
        });
        let wait = Duration::from_millis(WAIT as u64);
        let output =
            scored.key_by(|scored| scored.record.id).join_labels("labelled", labels.key_by(|label| label.id), wait)?;
        output.unmatched.sink("unmatched", &rest)?;
        output.late.sink("late", &NullSink::default())?;
        let truth = |_: &Payment, label: Option<&Label>| label.map(|label| label.is_fraud);
        let judged = output.labelled.quality("quality", &settings(), truth)?;
        judged.reports.sink("reports", &quality)?;
        let plain = |one: Labelled<Scored<Payment>, Label>| Labelled {
            record: one.record.record,
            at: one.at,
            label: one.label,
        };
        judged.records.map(plain).sink("joined", &to)
    });
    counted.crashes.fetch_add(u64::from(report.crashes), Ordering::Relaxed);

    let (wanted, times, alone) = join(&all, &known);
    let mut found = joined.output();
    found.sort_by_key(|one| one.at);
    assert_eq!(found, wanted);
    let mut found = unmatched.output();
    found.sort_by_key(|label| (label.id, label.is_fraud));
    assert_eq!(found, alone);
    let mut found = reports.output();
    found.sort_by(|a, b| (a.start, &a.model, a.role).cmp(&(b.start, &b.model, b.role)));
    check(&found, &wanted, &times);

    let with = wanted.iter().filter(|one| one.label.is_some()).count() as u64;
    counted.labelled.fetch_add(with, Ordering::Relaxed);
    counted.without.fetch_add(wanted.len() as u64 - with, Ordering::Relaxed);
    counted.unmatched.fetch_add(alone.len() as u64, Ordering::Relaxed);
    counted.reports.fetch_add(found.len() as u64, Ordering::Relaxed);
    let few = found.iter().filter(|report| report.reason.is_some()).count();
    counted.few.fetch_add(few as u64, Ordering::Relaxed);
}

/// Joins by looking at all labels for each payment, and returns when each came out, and the labels that are left.
fn join(payments: &[(i64, Payment)], known: &[(i64, Label)]) -> (Vec<Labelled<Payment, Label>>, Vec<i64>, Vec<Label>) {
    let mut used = vec![false; known.len()];
    let (mut joined, mut times) = (Vec::new(), Vec::new());
    for (at, payment) in payments {
        let label =
            known.iter().position(|(known_at, label)| label.id == payment.id && (*at..=at + WAIT).contains(known_at));
        if let Some(index) = label {
            used[index] = true;
        }
        times.push(label.map_or(at + WAIT, |index| known[index].0));
        let label = label.map(|index| known[index].1.clone());
        joined.push(Labelled { record: payment.clone(), at: EventTime(*at), label });
    }
    let mut alone: Vec<Label> =
        known.iter().zip(&used).filter(|(_, used)| !**used).map(|((_, label), _)| label.clone()).collect();
    alone.sort_by_key(|label| (label.id, label.is_fraud));
    (joined, times, alone)
}

/// Judges with lists of all scores, and all pairs.
fn check(found: &[QualityReport], joined: &[Labelled<Payment, Label>], times: &[i64]) {
    type Of = (i64, String, ModelRole);
    type Records<'a> = Vec<(i64, &'a Labelled<Payment, Label>)>;
    let mut groups: BTreeMap<Of, Records<'_>> = BTreeMap::new();
    for (one, time) in joined.iter().zip(times) {
        let role = if one.record.is_canary { ModelRole::Canary } else { ModelRole::Primary };
        let of = (time / WINDOW, format!("m/{}@0", one.record.version), role);
        groups.entry(of).or_default().push((*time, one));
    }
    assert_eq!(found.len(), groups.len());
    let near = |found: Option<f64>, wanted: Option<f64>| match (found, wanted) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0),
        (found, wanted) => found.is_none() && wanted.is_none(),
    };
    for (report, ((window, model, role), records)) in found.iter().zip(&groups) {
        let judged: Vec<(f64, bool)> = records
            .iter()
            .filter_map(|(_, one)| Some((f64::from(one.record.score), one.label.as_ref()?.is_fraud)))
            .collect();
        let count = judged.len() as u64;
        let of = |truth: bool| judged.iter().filter(move |(_, is)| *is == truth).map(|(score, _)| *score);
        let (positives, alerts) = (of(true).count(), judged.iter().filter(|(score, _)| *score > 0.5).count());
        let right = of(true).filter(|score| *score > 0.5).count();
        assert_eq!(
            (&report.model, report.role, report.start, report.end),
            (model, *role, EventTime(window * WINDOW), EventTime((window + 1) * WINDOW))
        );
        assert_eq!((report.records, report.positives), (count, positives as u64));
        assert_eq!((report.unknown, report.without_score), (records.len() as u64 - count, 0));
        assert_eq!((report.alerts, report.exact, report.reason.is_some()), (alerts as u64, true, count < 10));
        let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
        assert_eq!((report.precision, report.recall), (share(right, alerts), share(right, positives)));
        let pairs = of(true).flat_map(|p| {
            of(false).map(move |n| match p.total_cmp(&n) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
        });
        let (sum, number) = pairs.fold((0.0, 0), |(sum, number), pair| (sum + pair, number + 1));
        assert!(near(report.roc_auc, (number > 0).then(|| sum / f64::from(number))), "{report:?}");
        let loss = |(score, truth): &(f64, bool)| {
            let p: f64 = score.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            -(if *truth { p } else { 1.0 - p }).ln()
        };
        let losses: f64 = judged.iter().map(loss).sum();
        assert!(near(report.log_loss, (count > 0).then(|| losses / count as f64)), "{report:?}");
        let waited: i64 =
            records.iter().filter(|(_, one)| one.label.is_some()).map(|(time, one)| time - one.at.0).sum();
        assert!(near(report.mean_delay_ms, (count > 0).then(|| waited as f64 / count as f64)), "{report:?}");
        // Among the k best, those equal to the last one count in part: the mean over all orders of equal ones.
        for (k, precision) in &report.precision_at {
            let mut scores: Vec<f64> = judged.iter().map(|(score, _)| *score).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            let taken = scores.len().min(*k as usize);
            let last = scores[taken - 1];
            let above = of(true).filter(|score| *score > last).count() as f64;
            let equal = scores.iter().filter(|score| **score == last).count() as f64;
            let left = taken as f64 - scores.iter().filter(|score| **score > last).count() as f64;
            let part = of(true).filter(|score| *score == last).count() as f64 * left / equal;
            assert!(near(Some(*precision), Some((above + part) / taken as f64)), "{report:?}");
        }
        assert_eq!(report.precision_at.len(), if count > 0 { 2 } else { 0 });
    }
}
