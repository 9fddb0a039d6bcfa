//! A model that does not fit is refused before the first event, also when the server does not describe its models: it
//! is then asked to score a row of zeros. A request that a server refuses is an error of its batch, not of the
//! server: the circuit stays closed.

use std::time::Duration;

use tidemill::error::with_causes;
use tidemill::infer::server::{Circuit, ServedModel, ServerSettings};
use tidemill::infer::{ElementType, ModelSource, RunError, TensorSpec};

use crate::setting::{RankFeatures, WIDTH, expected, features_spec, patient, probabilities, rows, same, score, server};
use testkit::model_server::{Kind, MODEL};
use testkit::{example, fail_with};

/// Returns the error of connecting to the server with these specifications.
fn refusal(url: &str, input: TensorSpec, output: TensorSpec) -> String {
    let settings = ServerSettings { start_timeout: Duration::from_secs(2), ..patient() };
    let error =
        ServedModel::connect(url, [input], [output], &settings).map(|model| model.info().to_string()).unwrap_err();
    with_causes(&error)
}

#[test]
fn a_model_that_does_not_fit_stops_the_job_before_the_first_event() {
    let Some(running) = server(Kind::MlServer) else { return };
    let (rest, grpc) = (&running.server.rest, &running.server.grpc);
    for url in [format!("oip+http://{rest}/{MODEL}"), format!("oip+grpc://{grpc}/{MODEL}")] {
        let error = refusal(&url, features_spec(WIDTH + 1), probabilities());
        assert!(error.contains("the model:   \"features\" f32 [n, 6]"), "{error}");
        assert!(error.contains("the program: \"features\" f32 [n, 7]"), "{error}");
        let error = refusal(&url, TensorSpec::fixed("features", ElementType::F64, [WIDTH]), probabilities());
        assert!(error.contains("the program: \"features\" f64 [n, 6]"), "{error}");
        let error = refusal(&url, features_spec(WIDTH), TensorSpec::fixed("scores", ElementType::F32, []));
        assert!(
            error.contains("has no output \"scores\" f32 [n]: it has \"label\" i64 [n], \"probabilities\""),
            "{error}"
        );
        let error = refusal(&format!("{url}x"), features_spec(WIDTH), probabilities());
        assert!(error.contains("is not available"), "{error}");
    }
    // A whole program reports the same error.
    let error = fail_with(
        3,
        example("content_recommendation")
            .args(["--server", &format!("oip+grpc://{rest}/{MODEL}")])
            .args(["--start-timeout", "1s"]),
    );
    assert!(error.contains("is not available"), "{error}");
}

#[test]
fn a_server_that_says_nothing_of_its_model_is_asked_to_score_a_row() {
    let Some(running) = server(Kind::TfServing) else { return };
    let url = format!("tfs+grpc://{}/{MODEL}", running.server.grpc);
    // pythie-serving wants every feature as an input.
    let error = refusal(&url, features_spec(WIDTH), probabilities());
    assert!(
        error.contains("a row of zeros fails") && error.contains("the program: \"features\" f32 [n, 6]"),
        "{error}"
    );
}

#[test]
fn a_missing_server_is_awaited_and_then_reported() {
    let nobody = testkit::free_address();
    for scheme in ["oip+grpc", "oip+http", "tfs+grpc", "tfs+http"] {
        let error = refusal(&format!("{scheme}://{nobody}/{MODEL}"), features_spec(WIDTH), probabilities());
        assert!(error.contains("is not available") && error.contains("Is it up?"), "{error}");
    }
}

#[test]
fn what_a_server_refuses_is_the_batchs_fault_and_the_circuit_stays_closed() {
    for kind in [Kind::Triton, Kind::MlServer, Kind::KServe] {
        let Some(running) = server(kind) else { return };
        let (rest, grpc) = (&running.server.rest, &running.server.grpc);
        for url in [format!("oip+http://{rest}/{MODEL}"), format!("oip+grpc://{grpc}/{MODEL}")] {
            let model =
                ServedModel::scoring::<RankFeatures>(&url, "features", ("probabilities", 2, 1), &patient()).unwrap();
            let mut backend = model.open().unwrap();
            let mut found = vec![tidemill::infer::Tensor::empty(&model.outputs()[0])];
            let mut wrong = crate::setting::tensor(&rows(5, 1));
            // The 30 numbers are declared as rows of 5, but the model takes rows of 6.
            wrong.shape = vec![5];
            for _ in 0..20 {
                let refused = backend.run(6, &[wrong.clone()], &mut found);
                assert!(matches!(refused, Err(RunError::Batch(_))), "{url}: {refused:?}");
            }
            assert_eq!((model.circuit(), model.counts().calls), (Circuit::Closed, 20), "{url}");
            // The same client continues.
            let rows = rows(9, 6);
            same(&score(&mut *backend, &rows, model.outputs()).unwrap(), &expected(&rows), 1e-6, &url);
        }
        // JSON has no NaN, so the error is one of the batch and not of the server.
        let url = format!("oip+http://{rest}/{MODEL}");
        let model =
            ServedModel::scoring::<RankFeatures>(&url, "features", ("probabilities", 2, 1), &patient()).unwrap();
        let mut nan = rows(3, 7);
        nan[8] = f32::NAN;
        let refused = score(&mut *model.open().unwrap(), &nan, model.outputs());
        assert!(matches!(&refused, Err(RunError::Batch(reason)) if reason.contains("NaN")), "{url}: {refused:?}");
    }
}
