//! Models as real tools export them: how they describe themselves, where their weights are stored, and what they
//! answer.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill::infer::{Backend, Elements, ModelError, ModelSource, RunError, Tensor, TensorSpec};
use tidemill::prelude::*;

use crate::fake::{args, settings, threads};

features! {
    /// Two numbers.
    pub struct Pair { a, b }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub id: u64,
    pub pair: Pair,
}

pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("infer/models").join(name)
}

pub fn load(name: &str, output: &str, column: usize) -> Result<Model, ModelError> {
    Model::load::<Pair>(&file(name), output, column)
}

/// Scores the pairs in a job. Returns the ids with their scores, and the reasons of dead letters.
pub fn score_all(
    pairs: &[[f64; 2]],
    models: impl Into<Models>,
    settings: &InferSettings,
) -> (Vec<(u64, f32)>, Vec<String>) {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let line = |(id, [a, b]): (usize, &[f64; 2])| Line { id: id as u64, pair: Pair { a: *a, b: *b } };
    let lines = pairs.iter().enumerate().map(|pair| (EventTime(pair.0 as i64), line(pair)));
    let (source, models, settings) = (vec_source(lines.collect()), models.into(), settings.clone());
    let (scored, dead) = (CollectSink::<Scored<Line>>::default(), CollectSink::<DeadLetter>::default());
    let (scored_sink, dead_sink) = (scored.clone(), dead.clone());
    Job::new("onnx", args(1))
        .run(move |flow| {
            flow.source("lines", &source)?
                .infer("score", &models, &settings, |line: &Line| &line.pair)?
                .sink("scored", &scored_sink)?;
            flow.dead_letters().sink("dead", &dead_sink)
        })
        .unwrap();
    let mut scored: Vec<_> = scored.data().into_iter().map(|s| (s.record.id, s.score)).collect();
    scored.sort_by_key(|(id, _)| *id);
    (scored, dead.data().into_iter().map(|letter| letter.reason).collect())
}

/// Runs a model once, without a job.
pub fn run_once(model: &Model, rows: &[f32]) -> Result<Vec<f32>, RunError> {
    let mut backend: Box<dyn Backend> = model.open().unwrap();
    let inputs = [Tensor { shape: vec![2], elements: Elements::F32(rows.to_vec()) }];
    let mut outputs: Vec<Tensor> = model.outputs().iter().map(Tensor::empty).collect();
    backend.run(rows.len() / 2, &inputs, &mut outputs)?;
    let Elements::F32(values) = &outputs[0].elements else { panic!("{outputs:?}") };
    Ok(values.clone())
}

#[test]
fn scores_that_are_no_numbers_are_dead_letters() {
    let model = load("log.onnx", "score", 0).unwrap();
    let (scored, dead) = score_all(&[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [2.0, 0.0]], &model, &settings(64, None));
    assert_eq!(scored, [(0, 0.0), (3, 2.0_f32.ln())]);
    assert_eq!(dead, ["the score is NaN", "the score is -inf"]);
}

#[test]
fn a_feature_beyond_an_f32_is_a_dead_letter_and_what_fits_is_rounded() {
    let model = load("first.onnx", "score", 0).unwrap();
    // The last value is the smallest one that would be rounded to infinity.
    let firsts = [16_777_217.0, 1_700_000_000_123.0, 1e39, -1e300, f64::from(f32::MAX), 3.402_823_567_797_337e38];
    let (scored, dead) = score_all(&firsts.map(|first| [first, 0.0]), &model, &settings(64, None));
    assert_eq!(scored, [(0, 16_777_216.0), (1, 1_700_000_000_123_f64 as f32), (4, f32::MAX)]);
    let reasons: Vec<_> = dead.iter().map(|reason| reason.contains("feature a") && reason.contains("f32")).collect();
    assert_eq!(reasons, [true; 3], "{dead:?}");
    assert!(dead[0].contains("1e39") && dead[1].contains("-1e300"), "{dead:?}");
}

#[test]
fn weights_beside_a_model_are_found_wherever_it_is() {
    let model = load("weights/weights.onnx", "score", 0).unwrap();
    // A session that is created later, on a thread of a pool, finds them as well.
    for pool in [None, threads(2, true)] {
        let (scored, dead) = score_all(&[[1.0, 1.0], [2.0, 5.0]], &model, &settings(1, pool));
        assert_eq!((scored, dead), (vec![(0, 27.0), (1, 109.0)], vec![]));
    }
    assert_eq!(run_once(&model, &[-3.0, 1.0]), Ok(vec![26.0]));
}

/// Copies the model and its weights to a folder of their own.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    for part in ["weights.onnx", "weights.data", "parts/branches.data"] {
        std::fs::copy(file("weights").join(part), folder.path().join(part)).unwrap();
    }
    folder
}

#[test]
fn the_hash_of_a_model_covers_its_weights() {
    let hash = |folder: &tempfile::TempDir| {
        Model::load::<Pair>(&folder.path().join("weights.onnx"), "score", 0).unwrap().info().hash.clone()
    };
    let folder = copied();
    let before = hash(&folder);
    assert_eq!(before, hash(&copied()), "wherever it is");
    for part in ["weights.data", "parts/branches.data"] {
        let folder = copied();
        let path = folder.path().join(part);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        assert_ne!(before, hash(&folder), "{part}");
    }
}

/// Caches of downloaded models have links to files that are named by their hashes. ONNX Runtime by itself does not
/// accept links for the weights of branches.
#[test]
fn weights_behind_links_are_found() {
    let (files, links) = (copied(), tempfile::tempdir().unwrap());
    let (blobs, snapshot) = (links.path().join("blobs"), links.path().join("snapshots/1"));
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    for (part, blob) in [("weights.onnx", "aa"), ("weights.data", "bb")] {
        std::fs::copy(files.path().join(part), blobs.join(blob)).unwrap();
        std::os::unix::fs::symlink(blobs.join(blob), snapshot.join(part)).unwrap();
    }
    std::fs::rename(files.path().join("parts"), snapshot.join("parts")).unwrap();
    let model = Model::load::<Pair>(&snapshot.join("weights.onnx"), "score", 0).unwrap();
    assert_eq!(run_once(&model, &[1.0, 1.0]), Ok(vec![27.0]));
}

/// The weights that are used must be those whose hash is the model's version.
#[test]
fn weights_that_change_under_a_loaded_model_are_not_used() {
    let folder = copied();
    let model = Model::load::<Pair>(&folder.path().join("weights.onnx"), "score", 0).unwrap();
    drop(model.open().unwrap());
    std::fs::write(folder.path().join("weights.data"), [0; 12]).unwrap();
    let error = model.open().err().unwrap().to_string();
    assert!(error.contains("weights.data\" has changed"), "{error}");
}

#[test]
fn weights_that_are_not_there_are_named() {
    let folder = copied();
    std::fs::remove_file(folder.path().join("parts/branches.data")).unwrap();
    let error = Model::load::<Pair>(&folder.path().join("weights.onnx"), "score", 0).unwrap_err();
    assert!(error.to_string().contains("parts/branches.data"), "{error}");
}

#[test]
fn a_model_of_a_fixed_number_of_rows_gets_that_number() {
    for (name, rows) in [("rows_1.onnx", 1), ("rows_4.onnx", 4)] {
        let model = load(name, "score", 0).unwrap();
        let pairs: Vec<[f64; 2]> = (0..23).map(|n| [f64::from(n), 0.5]).collect();
        for batch in [1, 3, 4, 10] {
            let (scored, dead) = score_all(&pairs, &model, &settings(batch, None));
            let wanted: Vec<(u64, f32)> = (0..23).map(|n| (n, n as f32 + 0.5)).collect();
            assert_eq!((scored, dead), (wanted, vec![]), "{rows} rows, batches of {batch}");
        }
    }
}

#[test]
fn an_output_of_another_number_of_rows_that_is_not_asked_for_does_not_matter() {
    let model = load("label_of_one.onnx", "probabilities", 1).unwrap();
    let same = load("linear.onnx", "probabilities", 1).unwrap();
    let pairs: Vec<[f64; 2]> = (0..20).map(|n| [f64::from(n) / 10.0, -1.0]).collect();
    assert_eq!(score_all(&pairs, &model, &settings(7, None)), score_all(&pairs, &same, &settings(7, None)));
}

#[test]
fn maps_where_a_tensor_belongs_say_how_to_export_the_model() {
    let error = load("maps.onnx", "probabilities", 1).unwrap_err();
    assert!(error.to_string().contains("zipmap"), "{error}");
    let output = TensorSpec::fixed("probabilities", tidemill::infer::ElementType::F32, [2]);
    let input = TensorSpec::fixed("x", tidemill::infer::ElementType::F32, [2]);
    let error = Model::load_tensors(&file("maps.onnx"), vec![input], vec![output], &Default::default()).unwrap_err();
    assert!(error.to_string().contains("zipmap"), "{error}");
}
