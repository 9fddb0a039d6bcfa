//! Every server returns, in each of its protocols, the same scores as ONNX Runtime in this process.

use std::time::Instant;

use tidemill::infer::server::ServedModel;
use tidemill::infer::{ElementType, Elements, ModelSource, Tensor, TensorSpec};

use crate::setting::{
    RankFeatures, Running, WIDTH, column, expected, features_spec, patient, probabilities, rows, same, score, server,
};
use testkit::model_server::{Kind, MODEL};

/// Scores batches of several sizes with one client, and compares the scores with those of the model in this process.
fn scores_as_here(url: &str) {
    let model = ServedModel::scoring::<RankFeatures>(url, "features", ("probabilities", 2, 1), &patient()).unwrap();
    println!("{url}: {}", model.info());
    let mut backend = model.open().unwrap();
    for (count, seed) in [(1, 1), (64, 2), (3, 3), (1024, 4)] {
        let rows = rows(count, seed);
        let found = score(&mut *backend, &rows, model.outputs()).unwrap();
        same(&found, &expected(&rows), 1e-6, url);
    }
    let batch = rows(64, 5);
    let started = Instant::now();
    (0..20).for_each(|_| drop(score(&mut *backend, &batch, model.outputs()).unwrap()));
    println!("{url}: {:?} a batch of 64", started.elapsed() / 20);
    let counts = model.counts();
    assert_eq!((counts.batches, counts.calls, counts.failed), (24, 24, 0), "{url}");
}

/// Checks that a program can declare two outputs, one of them the label, in its own order.
fn two_outputs(url: &str) {
    let label = TensorSpec::fixed("label", ElementType::I64, []);
    let model = ServedModel::connect(url, [features_spec(WIDTH)], [probabilities(), label], &patient()).unwrap();
    let rows = rows(50, 5);
    let mut found: Vec<Tensor> = model.outputs().iter().map(Tensor::empty).collect();
    model.open().unwrap().run(50, &[crate::setting::tensor(&rows)], &mut found).unwrap();
    same(&column(&found[0], 1), &expected(&rows), 1e-6, url);
    let labels = column(&found[0], 1).iter().map(|chance| i64::from(*chance > 0.5)).collect();
    assert_eq!(found[1].elements, Elements::I64(labels), "{url}");
}

fn open_inference(Running { server, .. }: &Running) {
    for url in [format!("oip+http://{}/{MODEL}", server.rest), format!("oip+grpc://{}/{MODEL}", server.grpc)] {
        scores_as_here(&url);
        two_outputs(&url);
    }
}

#[test]
fn triton() {
    let Some(running) = server(Kind::Triton) else { return };
    open_inference(&running);
    // The address may name the version.
    scores_as_here(&format!("oip+grpc://{}/{MODEL}/1", running.server.grpc));
    scores_as_here(&format!("oip+http://{}/{MODEL}/1", running.server.rest));
}

#[test]
fn mlserver() {
    let Some(running) = server(Kind::MlServer) else { return };
    open_inference(&running);
}

#[test]
fn kserve_and_its_v1_protocol_which_is_tensorflow_servings() {
    let Some(running) = server(Kind::KServe) else { return };
    open_inference(&running);
    scores_as_here(&format!("tfs+http://{}/{MODEL}", running.server.rest));
}

/// pythie-serving has an input for each feature, and scores with LightGBM itself.
#[test]
fn pythie_serving_of_tensorflow_servings_protocol() {
    use tidemill::infer::Features;
    let Some(running) = server(Kind::TfServing) else { return };
    let url = format!("tfs+grpc://{}/{MODEL}", running.server.grpc);
    let inputs = RankFeatures::NAMES.iter().map(|name| TensorSpec::fixed(*name, ElementType::F32, [1]));
    let output = TensorSpec::fixed("predictions", ElementType::F32, []);
    let model = ServedModel::connect(&url, inputs, [output], &patient()).unwrap();
    let mut backend = model.open().unwrap();
    for (count, seed) in [(1, 1), (64, 2), (1000, 3)] {
        let rows = rows(count, seed);
        let one = |at: usize| rows.iter().skip(at).step_by(WIDTH).copied().collect();
        let inputs: Vec<Tensor> =
            (0..WIDTH).map(|at| Tensor { shape: vec![1], elements: Elements::F32(one(at)) }).collect();
        let mut found = vec![Tensor::empty(&model.outputs()[0])];
        backend.run(count, &inputs, &mut found).unwrap();
        same(&column(&found[0], 0), &expected(&rows), 1e-6, &url);
    }
}
