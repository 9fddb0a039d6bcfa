//! Models with a `features.json`: what the Python package exported scores here as it does there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testkit::project;
use tidemill::infer::{Aged, ModelError, ModelRepository, SessionSettings};
use tidemill::prelude::*;

features! {
    struct Payment { channel: text, country: text, amount, age: aged or 1.0 }
}

features! {
    struct Numbers { amount, age }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    features: Payment,
    /// By version 1 and 2.
    scores: [f32; 2],
}

fn rows() -> Vec<(EventTime, Row)> {
    let text = fs::read_to_string(project().join("tests/infer/payments/rows.jsonl")).unwrap();
    let row = |(at, line)| (EventTime(at as i64), serde_json::from_str(line).unwrap());
    text.lines().enumerate().map(row).collect()
}

fn load<F: Features>(root: &Path, version: u64) -> Result<Model, ModelError> {
    let wanted = format!("payments/{version}").parse().unwrap();
    ModelRepository::folder(root).find(&wanted)?.load::<F>("probabilities", 1, &SessionSettings::default())
}

/// Scores rows. Returns the scores with what the package says of them, in order.
fn run(rows: Vec<(EventTime, Row)>, models: Models, settings: &InferSettings) -> (Vec<Scored<Row>>, Snapshot) {
    let sink = CollectSink::<Scored<Row>>::default();
    let (to, source, settings) = (sink.clone(), vec_source(rows), settings.clone());
    let snapshot = Job::new("payments", JobSettings::default())
        .run(move |flow| {
            let rows = flow.source("rows", &source)?;
            rows.infer("score", &models, &settings, |row| &row.features)?.sink("scored", &to)
        })
        .unwrap();
    let mut records = sink.records();
    records.sort_by_key(|record| record.event_time);
    (records.into_iter().map(|record| record.data).collect(), snapshot)
}

fn counted(snapshot: &Snapshot, name: &str) -> u64 {
    snapshot.operators.iter().filter(|operator| operator.name == "score").map(|operator| operator.counter(name)).sum()
}

#[test]
fn each_version_gets_its_own_rows_of_the_same_features() {
    let root = project().join("tests/infer/payments");
    let (first, second) = (load::<Payment>(&root, 1).unwrap(), load::<Payment>(&root, 2).unwrap());
    let settings =
        InferSettings { max_batch_size: BatchSize::Fixed(7.try_into().unwrap()), ..InferSettings::default() };
    let (found, snapshot) = run(rows(), Models::of(first).from_event_time(EventTime(40), second), &settings);
    assert_eq!(found.len(), 106);
    // Three features of the odd rows are unknown, of which "fax" and the country without a name are scored as that.
    let odd = |name: &str| counted(&snapshot, name);
    assert!(odd("features_unknown") >= 3 && odd("features_missing") > 10 && odd("features_out_of_range") == 3);
    for (at, Scored { record, score, origin, .. }) in found.into_iter().enumerate() {
        let wanted = record.scores[usize::from(at >= 40)];
        assert!((score - wanted).abs() < 1e-6 && origin == ScoreOrigin::Model, "{at}: {score}, {wanted}: {record:?}");
    }
}

/// The file says that an age is known for an hour.
#[test]
fn a_value_that_is_too_old_is_missing() {
    let root = project().join("tests/infer/payments");
    // The ages are so many seconds old, or not there.
    let rows_of = |seconds: Option<u64>| {
        let mut rows = rows();
        for (_, Row { features, .. }) in &mut rows {
            let aged = features.age.zip(seconds);
            features.age = aged.map(|(aged, seconds)| Aged { age: Duration::from_secs(seconds), ..aged });
        }
        rows
    };
    let scores = |rows: Vec<(EventTime, Row)>| {
        let (scored, snapshot) = run(rows, Models::of(load::<Payment>(&root, 1).unwrap()), &InferSettings::default());
        let odd = |name: &str| counted(&snapshot, name);
        let odd = (odd("features_too_old"), odd("features_missing"));
        (scored.into_iter().map(|scored| scored.score.to_bits()).collect::<Vec<_>>(), odd)
    };
    let with = rows().iter().filter(|(_, row)| row.features.age.is_some()).count() as u64;
    let (fresh, (_, missing)) = scores(rows());
    assert_eq!(scores(rows_of(Some(3600))), (fresh.clone(), (0, missing)));
    let (without, _) = scores(rows_of(None));
    assert_ne!(without, fresh);
    assert_eq!(scores(rows_of(Some(3601))), (without, (with, missing + with)));
}

#[test]
fn what_does_not_fit_the_program_or_the_model_is_refused_with_both_sides() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (project().join("tests/infer/payments/payments/1"), scratch.path().join("payments/1"));
    fs::create_dir_all(&to).unwrap();
    for file in ["model.onnx", "features.json", "golden.jsonl", "model.json"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let refused = || load::<Payment>(scratch.path(), 1).unwrap_err().to_string();
    assert!(load::<Payment>(scratch.path(), 1).is_ok());
    let error = load::<Numbers>(scratch.path(), 1).unwrap_err().to_string();
    assert!(error.contains("the program lacks its channel, country"), "{error}");

    let rules = fs::read_to_string(from.join("features.json")).unwrap();
    fs::write(to.join("features.json"), rules.replace("500.0", "400.0")).unwrap();
    let error = refused();
    assert!(error.contains("its SHA-256 is") && error.contains("the model was exported with"), "{error}");
    fs::remove_file(to.join("features.json")).unwrap();
    let error = refused();
    assert!(error.contains("it was exported with the features.json") && error.contains("not beside it"), "{error}");

    fs::write(to.join("features.json"), &rules).unwrap();
    let golden = fs::read_to_string(from.join("golden.jsonl")).unwrap();
    fs::write(to.join("golden.jsonl"), golden.replacen("\"score\": 0.", "\"score\": 1.", 1)).unwrap();
    let error = refused();
    assert!(error.contains("1 of ") && error.contains("country=DE="), "{error}");
}

#[test]
fn a_fallback_that_takes_other_rows_is_refused() {
    let root = project().join("tests/infer/payments");
    let models = Models::of(load::<Payment>(&root, 1).unwrap()).or(load::<Payment>(&root, 2).unwrap());
    let run = Job::new("payments", JobSettings::default()).run(move |flow| {
        let rows = flow.source("rows", &vec_source(rows()))?;
        let scored = rows.infer("score", &models, &InferSettings::default(), |row| &row.features)?;
        scored.sink("scored", &NullSink::default())
    });
    let error = tidemill::error::with_causes(&run.unwrap_err());
    assert!(error.contains("makes other rows of the features than that of the fallback model"), "{error}");
}
