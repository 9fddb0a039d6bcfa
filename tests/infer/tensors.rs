//! An ONNX model that has inputs and outputs of all types, with rows of fixed and of varying shape.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill::infer::{ElementType, InputRow, ModelError, OutputRow, Provider, SessionSettings, TensorSpec};
use tidemill::prelude::*;

use crate::fake::{args, threads};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    id: i64,
    pair: [f32; 2],
    counts: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    weighted: f64,
    count: i64,
    not_flag: bool,
    name: String,
}

fn visit(id: i64) -> Visit {
    // The number of counts changes irregularly from row to row, between 0 and 3.
    Visit { id, pair: [id as f32, 1.0], counts: (0..(id * 7 + id / 3) % 4).collect() }
}

fn expected(visit: &Visit) -> Answer {
    Answer {
        weighted: f64::from(visit.pair[0] + visit.pair[1]) * 0.5,
        count: visit.counts.iter().sum(),
        not_flag: visit.id % 2 != 0,
        name: format!("visit {}", visit.id),
    }
}

fn inputs() -> Vec<TensorSpec> {
    // The order differs from that of the model.
    vec![
        TensorSpec::fixed("name", ElementType::Text, []),
        TensorSpec::fixed("pair", ElementType::F32, [2]),
        TensorSpec::fixed("weight", ElementType::F64, []),
        TensorSpec::dynamic("counts", ElementType::I64, [None]),
        TensorSpec::fixed("flag", ElementType::Bool, []),
    ]
}

fn outputs() -> Vec<TensorSpec> {
    vec![
        TensorSpec::fixed("same_name", ElementType::Text, []),
        TensorSpec::fixed("count", ElementType::I64, []),
        TensorSpec::fixed("weighted", ElementType::F64, []),
        TensorSpec::fixed("not_flag", ElementType::Bool, []),
    ]
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("infer/mixed.onnx")
}

fn load(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>, settings: &SessionSettings) -> Result<Model, ModelError> {
    Model::load_tensors(&path(), inputs, outputs, settings)
}

fn encode(visit: &Visit, row: &mut InputRow<'_>) {
    row.text(0, &[&format!("visit {}", visit.id)]);
    row.f32(1, &visit.pair);
    row.f64(2, &[0.5]);
    row.i64(3, &visit.counts);
    row.bool(4, &[visit.id % 2 == 0]);
}

fn decode(row: &OutputRow<'_>) -> Result<Answer, String> {
    match (row.text(0), row.i64(1), row.f64(2), row.bool(3)) {
        ([name], [count], [weighted], [not_flag]) => {
            Ok(Answer { weighted: *weighted, count: *count, not_flag: *not_flag, name: name.clone() })
        }
        _ => Err("not one value each".to_owned()),
    }
}

#[test]
fn all_types_and_shapes_go_in_and_come_out() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    for pool in [None, threads(2, true)] {
        let settings = InferSettings { pool, ..InferSettings::default() };
        let model = load(inputs(), outputs(), &SessionSettings::default()).unwrap();
        let answers = CollectSink::default();
        let sink = answers.clone();
        let report = Job::new("tensors", args(2))
            .run(move |flow| {
                flow.source("visits", &Generator::new(1000, |n| (EventTime(n as i64), visit(n as i64))))?
                    .infer_tensors("answer", &model, &settings, encode, decode, None)?
                    .sink("answers", &sink)
            })
            .unwrap();
        let answers: Vec<Scored<Visit, Answer>> = answers.data();
        assert_eq!(answers.len(), 1000);
        for Scored { record, score, origin, .. } in answers {
            assert_eq!((&score, origin), (&expected(&record), ScoreOrigin::Model), "{record:?}");
        }
        assert_eq!(report.operators.iter().map(|operator| operator.counters["dead_letters"]).sum::<u64>(), 0);
    }
}

#[test]
fn a_row_that_does_not_fit_is_a_dead_letter() {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let model = load(inputs(), outputs(), &SessionSettings::default()).unwrap();
    let (answers, dead) = (CollectSink::<Scored<Visit, Answer>>::default(), CollectSink::<DeadLetter>::default());
    let (answers_sink, dead_sink) = (answers.clone(), dead.clone());
    Job::new("tensors", args(1))
        .run(move |flow| {
            let wrong = |visit: &Visit, row: &mut InputRow<'_>| match visit.id {
                3 => row.f32(1, &[1.0]),
                5 => row.f32(2, &[1.0]),
                7 => encode(&Visit { pair: [0.0; 2], ..visit.clone() }, row),
                8 => row.i64(9, &[1]),
                _ => encode(visit, row),
            };
            flow.source("visits", &Generator::new(20, |n| (EventTime(n as i64), visit(n as i64))))?
                .infer_tensors("answer", &model, &InferSettings::default(), wrong, decode, None)?
                .sink("answers", &answers_sink)?;
            flow.dead_letters().sink("dead", &dead_sink)
        })
        .unwrap();
    assert_eq!(answers.data().len(), 17);
    let reasons: Vec<String> = dead.data().into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.contains("features do not fit")), "{reasons:?}");
}

#[test]
fn what_does_not_fit_is_said_before_the_job_starts() {
    let settings = SessionSettings::default();
    let mut other = inputs();
    other[1] = TensorSpec::fixed("pair", ElementType::F32, [3]);
    let error = load(other, outputs(), &settings).unwrap_err().to_string();
    assert!(error.contains("\"pair\" f32 [n, 2]") && error.contains("\"pair\" f32 [n, 3]"), "{error}");
    let mut other = outputs();
    other[0] = TensorSpec::fixed("nickname", ElementType::Text, []);
    let error = load(inputs(), other, &settings).unwrap_err().to_string();
    assert!(error.contains("\"nickname\" text [n]") && error.contains("\"same_name\" text [n]"), "{error}");
    assert!(load(inputs()[..4].to_vec(), outputs(), &settings).is_err(), "an input is missing");
}

#[test]
fn a_provider_that_is_not_there_is_named_with_those_that_are() {
    for (provider, name) in [
        (Provider::Cuda { device: 0 }, "CUDA"),
        (Provider::TensorRt { device: 0 }, "TensorRT"),
        (Provider::OpenVino { device: "CPU".to_owned() }, "OpenVINO"),
    ] {
        let settings = SessionSettings { providers: vec![provider], ..SessionSettings::default() };
        let error = load(inputs(), outputs(), &settings).unwrap_err();
        assert!(matches!(error, ModelError::NoProvider { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("has: CPU"), "{text}");
    }
    let settings = SessionSettings { providers: vec![Provider::Cpu], ..SessionSettings::default() };
    assert!(load(inputs(), outputs(), &settings).is_ok());
}
