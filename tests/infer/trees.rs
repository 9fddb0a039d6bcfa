//! Ensembles of trees: the engine of our own gives what ONNX Runtime gives for ONNX files, and what XGBoost and
//! LightGBM predict for their own files. `trees/make.py` makes the models.
//!
//! Among them are the cases of public reports. onnxruntime 27533 and 28557: votes for one of two classes
//! (`classifier_two_of_…`); treelite 115 and m2cgen 168: thresholds rounded to another width; treelite 376 and LightGBM
//! 6139: zeros and NaN that count as missing, or do not (`lightgbm_zero`, `lightgbm_none_missing`); treelite 635:
//! `base_score` as a list; treelite 492: `iteration_indptr`; trees after the best iteration (`xgboost_best`).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidemill::infer::{
    Backend, ElementType, Elements, Engine, Model, ModelError, ModelSource, SessionSettings, Tensor, TensorSpec,
};

const WIDTH: usize = 4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("infer/trees")
}

fn load(path: &Path, width: usize, output: &TensorSpec, engine: Engine) -> Result<Model, ModelError> {
    let inputs = vec![TensorSpec::fixed("features", ElementType::F32, [width])];
    let settings = SessionSettings { engine, ..SessionSettings::default() };
    Model::load_tensors(path, inputs, vec![output.clone()], &settings)
}

fn run(model: &Model, rows: &[f32], width: usize) -> Elements {
    let mut backend: Box<dyn Backend> = model.open().unwrap();
    let inputs = [Tensor { shape: vec![width], elements: Elements::F32(rows.to_vec()) }];
    let mut outputs: Vec<Tensor> = model.outputs().iter().map(Tensor::empty).collect();
    backend.run(rows.len() / width, &inputs, &mut outputs).unwrap();
    outputs.remove(0).elements
}

/// Rows of ordinary and special numbers, which are the same each time. `scale` is the size of the ordinary ones.
fn rows(count: usize, width: usize, scale: f32) -> Vec<f32> {
    let special =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-45, -1e-45, 1e-40, f32::MAX, f32::MIN, 3e38];
    let mut state = 17_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut value = || match next() % 8 {
        0 => special[next() as usize % special.len()],
        1 => f32::from_bits(next() << 1 ^ next()),
        // The thresholds of the handmade models.
        2 | 3 => [0.0, 1.0, -1.5, 0.1, 2.5, 1e-45, 3e38][next() as usize % 7],
        4 => (next() % 5) as f32,
        5 => (next() as f32 / 2_f32.powi(31) - 0.5) * 6.0,
        _ => next() as f32 / 2_f32.powi(31) * scale,
    };
    (0..count * width).map(|_| value()).collect()
}

/// Returns the largest difference, as a share of the larger value or of 1.
fn difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    let of = |(one, other): (&f32, &f32)| {
        if one == other || (one.is_nan() && other.is_nan()) { 0.0 } else { (one - other).abs() / one.abs().max(1.0) }
    };
    // A NaN beside a number is the largest difference.
    one.iter()
        .zip(other)
        .map(of)
        .fold(0.0, |most: f32, found| if found.is_nan() { f32::INFINITY } else { most.max(found) })
}

/// Compares the engines on one output of a model. Returns whether the trees were recognised.
fn compare(path: &Path, width: usize, output: &TensorSpec, limit: f32) -> bool {
    let Ok(trees) = load(path, width, output, Engine::Trees) else { return false };
    let onnx = load(path, width, output, Engine::OnnxRuntime).unwrap();
    let name = path.display();
    for (count, scale) in [(1, 1.0), (16, 1.0), (17, 200.0), (500, 1.0), (1000, 200.0)] {
        let rows = rows(count, width, scale);
        match (run(&onnx, &rows, width), run(&trees, &rows, width)) {
            (Elements::F32(onnx), Elements::F32(trees)) => {
                let found = difference(&onnx, &trees);
                assert!(found <= limit, "{name}: {found}");
            }
            (onnx, trees) => assert_eq!(onnx, trees, "{name}"),
        }
    }
    true
}

/// The models of `models.bin`, written to a folder.
fn unpacked() -> (tempfile::TempDir, Vec<PathBuf>) {
    let (folder_of, mut paths) = (tempfile::tempdir().unwrap(), Vec::new());
    let packed = std::fs::read(folder().join("models.bin")).unwrap();
    let mut rest = &packed[..];
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (name, size) = std::str::from_utf8(&rest[..end]).unwrap().split_once(' ').unwrap();
        let (model, more) = rest[end + 1..].split_at(size.parse().unwrap());
        let path = folder_of.path().join(name);
        std::fs::write(&path, model).unwrap();
        paths.push(path);
        rest = more;
    }
    (folder_of, paths)
}

/// Models for which ONNX Runtime does something else than the standard says, or that it refuses.
fn is_left_to_onnx_runtime(name: &str) -> bool {
    let of_one = ["_two_of_one", "_two_of_the_other", "_two_texts"].iter().any(|kind| name.contains(kind));
    let three = ["_three_", "_texts_"].iter().any(|kind| name.contains(kind)) && !name.contains("_two_");
    (of_one && name.contains("_probit_"))
        || (name.contains("_two_of_both") && name.ends_with("_1"))
        || (name.starts_with("classifier") && three && name.ends_with("_1"))
        || ["regressor_logistic_1", "regressor_softmax_1", "regressor_softmax_zero_1"].contains(&name)
}

#[test]
fn the_engines_give_the_same_to_the_bit() {
    let (_folder, paths) = unpacked();
    assert!(paths.len() > 120, "{}", paths.len());
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let outputs: &[&str] = match name {
            _ if name.starts_with("classifier") || name.starts_with("regressor") => &["scores"],
            "skl2onnx_isolation" => &["scores"],
            _ if name.ends_with("number") || name.ends_with("poisson") => &["variable"],
            _ => &["probabilities"],
        };
        // Logarithms and exponentials differ in the last place.
        let limit = if ["skl2onnx_isolation", "xgboost_poisson"].contains(&name) { 1e-6 } else { 0.0 };
        for output in outputs {
            let spec = TensorSpec::dynamic(*output, ElementType::F32, [None]);
            let found = compare(&path, WIDTH, &spec, limit);
            assert_eq!(found, !is_left_to_onnx_runtime(name), "{name} {output}");
            // Where the trees are not recognised, the model is one for ONNX Runtime, unless that refuses it.
            let auto = load(&path, WIDTH, &spec, Engine::Auto);
            assert!(auto.is_ok() || !found, "{name}: {auto:?}");
        }
        if name.starts_with("classifier") {
            let element = if name.contains("texts") { ElementType::Text } else { ElementType::I64 };
            let found = compare(&path, WIDTH, &TensorSpec::fixed("label", element, []), 0.0);
            assert_eq!(found, !is_left_to_onnx_runtime(name), "{name} label");
        }
    }
}

#[test]
fn the_shipped_models_score_alike() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    for (name, output, width, limit) in [
        ("fraud_velocity", "probabilities", 18, 0.0),
        ("content_recommendation", "probabilities", 6, 0.0),
        ("iot_window", "scores", 32, 1e-6),
    ] {
        let path = models.join(name).with_extension("onnx");
        assert!(compare(&path, width, &TensorSpec::dynamic(output, ElementType::F32, [None]), limit), "{name}");
    }
    // LightGBM's own file of the model, with thresholds in f64, and the ONNX file with thresholds in f32.
    let spec = |output| TensorSpec::dynamic(output, ElementType::F32, []);
    let own = load(&models.join("content_recommendation.txt"), 6, &spec("prediction"), Engine::Auto).unwrap();
    let onnx = TensorSpec::fixed("probabilities", ElementType::F32, [2]);
    let onnx = load(&models.join("content_recommendation.onnx"), 6, &onnx, Engine::OnnxRuntime).unwrap();
    let rows: Vec<f32> =
        rows(2000, 6, 1.0).into_iter().map(|value| if value.is_finite() { value } else { 0.5 }).collect();
    let (Elements::F32(own), Elements::F32(onnx)) = (run(&own, &rows, 6), run(&onnx, &rows, 6)) else {
        panic!("no f32")
    };
    let of_class_1: Vec<f32> = onnx.chunks(2).map(|pair| pair[1]).collect();
    assert!(difference(&own, &of_class_1) < 1e-6);
}

#[derive(Deserialize)]
struct Predictions {
    rows: Vec<Option<f32>>,
    models: std::collections::BTreeMap<String, Predicted>,
}

#[derive(Deserialize)]
struct Predicted {
    prediction: Vec<f32>,
    raw: Vec<f32>,
}

#[test]
fn files_of_xgboost_and_lightgbm_predict_what_the_libraries_do() {
    let found = std::fs::read(folder().join("predictions.json")).unwrap();
    let Predictions { rows, models } = serde_json::from_slice(&found).unwrap();
    let rows: Vec<f32> = rows.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect();
    let positive: Vec<f32> = rows.iter().map(|value| if *value < 0.0 { 0.0 } else { *value }).collect();
    assert_eq!(models.len(), 28);
    for (name, wanted) in &models {
        let rows = if name.starts_with("xgboost") && name.contains("categor") { &positive } else { &rows };
        for (output, wanted) in [("prediction", &wanted.prediction), ("raw", &wanted.raw)] {
            let columns = (wanted.len() > rows.len() / WIDTH).then_some(Some(wanted.len() * WIDTH / rows.len()));
            let spec = TensorSpec::dynamic(output, ElementType::F32, columns);
            let model = load(&folder().join(name), WIDTH, &spec, Engine::Auto).unwrap();
            let Elements::F32(scores) = run(&model, rows, WIDTH) else { panic!("no f32") };
            let found = difference(wanted, &scores);
            assert!(found <= 2e-7, "{name} {output}: {found}\n{wanted:?}\n{scores:?}");
        }
    }
}

/// A process loads ONNX Runtime at most once, so this takes one of its own.
#[test]
fn an_ensemble_of_trees_needs_no_onnx_runtime() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "trees::a_process_without_onnx_runtime"])
        .env("ORT_DYLIB_PATH", "/there/is/no/library.so")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "another test runs it without the library"]
fn a_process_without_onnx_runtime() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let spec = |output: &str| TensorSpec::dynamic(output, ElementType::F32, [None]);
    for engine in [Engine::Auto, Engine::Trees] {
        let model = load(&models.join("iot_window.onnx"), 32, &spec("scores"), engine).unwrap();
        let Elements::F32(scores) = run(&model, &[1.0; 64], 32) else { panic!("no f32") };
        assert!(scores.len() == 2 && scores.iter().all(|score| score.is_finite()), "{scores:?}");
        assert!(model.engine().unwrap().starts_with("trees: "));
    }
    // An output that the forest does not have may be one of ONNX Runtime.
    let missing = load(&models.join("iot_window.onnx"), 32, &spec("other"), Engine::Auto);
    assert!(matches!(missing, Err(ModelError::NoRuntime { .. })), "{missing:?}");
    let (_folder, paths) = unpacked();
    let path = paths.iter().find(|path| path.ends_with("regressor_logistic_1.onnx")).unwrap();
    let other = load(path, WIDTH, &spec("scores"), Engine::Auto);
    assert!(matches!(other, Err(ModelError::NoRuntime { .. })), "{other:?}");
    let refused = load(path, WIDTH, &spec("scores"), Engine::Trees).unwrap_err().to_string();
    assert!(refused.contains("\"trees\""), "{refused}");
}

/// Files that are not supported say why.
#[test]
fn what_is_not_supported_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let refused = |file: &str, change: &[(&str, &str)]| {
        let mut text = std::fs::read_to_string(folder().join(file)).unwrap();
        for (from, to) in change {
            assert!(text.contains(from), "{file} has no {from}");
            text = text.replacen(from, to, 1);
        }
        let path = scratch.path().join(file);
        std::fs::write(&path, text).unwrap();
        let spec = TensorSpec::dynamic("prediction", ElementType::F32, []);
        load(&path, WIDTH, &spec, Engine::Auto).unwrap_err().to_string()
    };
    for (file, change, wanted) in [
        ("lightgbm_binary.txt", ("is_linear=0", "is_linear=1"), "linear_tree"),
        ("lightgbm_binary.txt", ("end of trees", "end"), "ends before"),
        ("lightgbm_binary.txt", ("objective=binary", "objective=own"), "objective \"own"),
        ("lightgbm_binary.txt", ("num_leaves=5", "num_leaves=6"), "tree 0: leaf_value"),
        ("lightgbm_binary.txt", ("max_feature_idx=3", "max_feature_idx=1"), "fit"),
        ("xgboost_binary.json", ("\"name\":\"gbtree\"", "\"name\":\"gblinear\""), "gblinear"),
        ("xgboost_binary.json", ("binary:logistic", "survival:aft"), "survival:aft"),
        ("xgboost_binary.json", ("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\""), "multi_output_tree"),
        ("xgboost_binary.json", ("\"learner\"", "\"other\""), "no model of XGBoost"),
    ] {
        let error = refused(file, &[change]);
        assert!(error.contains(wanted), "{file} {change:?}: {error}");
    }
    let spec = TensorSpec::dynamic("prediction", ElementType::F32, []);
    let error = load(&folder().join("lightgbm_binary.txt"), WIDTH, &spec, Engine::OnnxRuntime).unwrap_err();
    assert!(error.to_string().contains("does not read files of XGBoost and LightGBM"), "{error}");
}
