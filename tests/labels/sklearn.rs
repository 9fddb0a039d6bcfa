//! Measures against those of scikit-learn (`make_sklearn.py`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::infer::{ModelInfo, ModelRole};
use tidemill::labels::{LabelsExt, QualityExt, QualityReport, QualitySettings};
use tidemill::prelude::*;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    truth: Vec<u8>,
    score: Vec<f64>,
    log_loss: f64,
    roc_auc: f64,
    average_precision: f64,
    precision: f64,
    recall: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    id: u64,
    score: f64,
    truth: bool,
}

fn report(rows: Vec<Row>) -> QualityReport {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("reports");
    let count = rows.len() as u64;
    let (rows, to) = (Arc::new(rows), out.clone());
    Job::new("quality", JobSettings::default())
        .run(move |flow| {
            let made = {
                let rows = Arc::clone(&rows);
                Generator::new(count, move |index| (EventTime(index as i64), rows_of(&rows, index)))
            };
            let labels = {
                let rows = Arc::clone(&rows);
                Generator::new(count, move |index| (EventTime(index as i64 + 5), rows_of(&rows, index)))
            };
            let scored = flow.source("rows", &made)?.map(|row: Row| Scored {
                score: row.score as f32,
                origin: ScoreOrigin::Model,
                model: Some(Arc::new(ModelInfo::new("m", "0"))),
                role: ModelRole::Primary,
                record: row,
            });
            let labels = flow.source("labels", &labels)?.key_by(|row: &Row| row.id);
            let joined =
                scored.key_by(|scored| scored.record.id).join_labels("join", labels, Duration::from_secs(1))?;
            let settings = QualitySettings { min_records: 1, ..QualitySettings::default() };
            let truth = |_: &Row, label: Option<&Row>| label.map(|row| row.truth);
            let judged = joined.labelled.quality("quality", &settings, truth)?;
            judged.reports.sink("reports", &FileSink::json_lines(&to))
        })
        .unwrap();
    let lines = testkit::lines(&out);
    assert_eq!(lines.len(), 1);
    serde_json::from_str(&lines[0]).unwrap()
}

fn rows_of(rows: &[Row], index: u64) -> Row {
    rows[index as usize].clone()
}

#[test]
fn measures_are_those_of_scikit_learn() {
    let text = std::fs::read_to_string(testkit::project().join("tests/labels/sklearn.json")).unwrap();
    let Cases { cases } = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let rows: Vec<Row> = case
            .score
            .iter()
            .zip(&case.truth)
            .enumerate()
            .map(|(id, (score, truth))| Row { id: id as u64, score: *score, truth: *truth == 1 })
            .collect();
        let found = report(rows);
        for (name, found, wanted) in [
            ("log_loss", found.log_loss, case.log_loss),
            ("roc_auc", found.roc_auc, case.roc_auc),
            ("average_precision", found.average_precision, case.average_precision),
            ("precision", found.precision, case.precision),
            ("recall", found.recall, case.recall),
        ] {
            let found = found.unwrap();
            assert!((found - wanted).abs() < 1e-12, "{name}: {found}, {wanted}");
        }
        assert!(found.exact && found.reason.is_none());
    }
}

/// Beyond 16,384 different scores of a kind only their buckets are known.
#[test]
fn measures_of_many_different_scores_are_off_by_less_than_a_thousandth() {
    let truth = |id: u64| id.is_multiple_of(7);
    let score = |id: u64| {
        let spread = (id.wrapping_mul(2_654_435_761) % 1_000_003) as f64 / 1_000_003.0;
        if truth(id) { spread.sqrt() } else { spread }
    };
    let rows: Vec<Row> =
        (0..40_000).map(|id| Row { id, score: f64::from(score(id) as f32), truth: truth(id) }).collect();
    let found = report(rows.clone());
    assert!(!found.exact);
    let mut sorted = rows.clone();
    sorted.sort_by(|a, b| a.score.total_cmp(&b.score));
    let (mut below, mut wins) = (0_u64, 0_u64);
    for row in &sorted {
        if row.truth { wins += below } else { below += 1 }
    }
    let positives = rows.iter().filter(|row| row.truth).count() as f64;
    let wanted = wins as f64 / (positives * below as f64);
    assert!((found.roc_auc.unwrap() - wanted).abs() < 1e-3, "{:?}, {wanted}", found.roc_auc);
    let best = sorted.iter().rev().take(100).filter(|row| row.truth).count() as f64 / 100.0;
    let (k, found_best) = found.precision_at[0];
    assert!(k == 100 && (found_best - best).abs() < 0.1, "{found_best}, {best}");
}
