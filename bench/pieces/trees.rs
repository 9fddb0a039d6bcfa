//! The walk through the trees of a model.

use std::path::Path;

use tidemill::infer::{ElementType, Elements, Engine, Model, ModelSource, SessionSettings, Tensor, TensorSpec};

use crate::{Failure, Numbers, RECORDS, Round};

const FEATURES: usize = 18;
/// Number of rows of a batch, as in the example.
const ROWS: usize = 64;

/// Scores rows by the model of `fraud_velocity`, which has a hundred trees.
pub fn walk() -> Result<Round, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fraud_velocity.onnx");
    let inputs = vec![TensorSpec::fixed("features", ElementType::F32, [FEATURES])];
    let outputs = vec![TensorSpec::dynamic("probabilities", ElementType::F32, [None])];
    let settings = SessionSettings { engine: Engine::Trees, ..SessionSettings::default() };
    let model = Model::load_tensors(&path, inputs, outputs, &settings)?;
    let mut scores = vec![Tensor::empty(&model.outputs()[0])];
    let mut backend = model.open()?;
    let mut numbers = Numbers(5);
    let mut rows = || Tensor {
        shape: vec![FEATURES],
        elements: Elements::F32((0..ROWS * FEATURES).map(|_| numbers.next(20_000) as f32 / 100.0).collect()),
    };
    let batches: Vec<Tensor> = (0..RECORDS as usize / ROWS).map(|_| rows()).collect();
    Ok(Box::new(move || {
        for batch in &batches {
            backend.run(ROWS, std::slice::from_ref(batch), &mut scores)?;
        }
        std::hint::black_box(&scores);
        Ok(())
    }))
}
