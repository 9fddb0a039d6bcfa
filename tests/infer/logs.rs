//! The log of ONNX Runtime: a warning appears once and not with every batch, and failed runs, which the operator
//! counts, log no errors.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tidemill::infer::{ElementType, Elements, Engine, ModelSource, RunError, SessionSettings, Tensor, TensorSpec};
use tidemill::prelude::*;

use crate::onnx::{Pair, file};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `act` with a copy of a model in a folder of its own. Returns the lines of the log that contain its path.
fn log_of(name: &str, level: tracing::Level, act: impl FnOnce(&std::path::Path)) -> Vec<String> {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::copy(file(name), &path).unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_max_level(level).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), || act(&path));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let ours = |line: &&str| line.contains(&*folder.path().to_string_lossy());
    text.lines().filter(ours).map(str::to_owned).collect()
}

fn run(model: &Model, firsts: &[f32]) -> Vec<Result<(), RunError>> {
    let mut backend = model.open().unwrap();
    let run = |rows: usize| {
        let cells = firsts.iter().cycle().take(rows).flat_map(|first| [*first, 0.0]).collect();
        let inputs = [Tensor { shape: vec![2], elements: Elements::F32(cells) }];
        let mut outputs: Vec<Tensor> = model.outputs().iter().map(Tensor::empty).collect();
        backend.run(rows, &inputs, &mut outputs)
    };
    (2..9).map(run).collect()
}

#[test]
fn a_warning_of_onnx_runtime_comes_out_once() {
    for label_too in [true, false] {
        let lines = log_of("label_of_one.onnx", tracing::Level::WARN, |path| {
            let mut outputs = vec![TensorSpec::fixed("probabilities", ElementType::F32, [2])];
            if label_too {
                outputs.push(TensorSpec::fixed("label", ElementType::I64, []));
            }
            let inputs = vec![TensorSpec::fixed("x", ElementType::F32, [2])];
            let settings = SessionSettings { engine: Engine::OnnxRuntime, ..SessionSettings::default() };
            let model = Model::load_tensors(path, inputs, outputs, &settings).unwrap();
            for _ in 0..2 {
                assert!(run(&model, &[1.0]).iter().all(Result::is_ok));
            }
        });
        assert_eq!(lines.len(), usize::from(label_too), "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("label")), "{lines:?}");
    }
}

#[test]
fn a_failed_run_is_the_ladders_and_no_error_in_the_log() {
    for (level, wanted) in [(tracing::Level::INFO, 0), (tracing::Level::DEBUG, 8)] {
        let lines = log_of("lookup.onnx", level, |path| {
            let model = Model::load::<Pair>(path, "score", 0).unwrap();
            assert!(run(&model, &[3.0, 1e6]).iter().all(|result| matches!(result, Err(RunError::Batch(_)))));
        });
        assert_eq!(lines.len(), wanted, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("DEBUG")), "{lines:?}");
    }
}

#[test]
fn a_fixed_number_of_rows_is_logged_once() {
    let lines = log_of("rows_4.onnx", tracing::Level::WARN, |path| {
        let model = Model::load::<Pair>(path, "score", 0).unwrap();
        (0..3).for_each(|_| drop(model.clone().open().unwrap()));
        assert_eq!(model.batch_rows(), Some(4));
    });
    assert!(lines.len() == 1 && lines[0].contains("dynamic_axes"), "{lines:?}");
}
