//! Versions of a model out of a real MLflow: they are registered by its REST API alone, and found by a
//! [`ModelRepository`], also after the server was killed. `tests/infer/mlflow.rs` has a registry that lies.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tidemill::error::with_causes;
use tidemill::features;
use tidemill::infer::{Elements, Model, ModelError, ModelRepository, ModelSource, SessionSettings, Tensor};

use crate::setting::{Running, started};
use testkit::mlflow::{self, Mlflow};
use testkit::project;

features! {
    /// The features of the example `fraud_velocity`.
    pub struct FraudFeatures {
        amount, is_weekend, is_night, card_count_5m, card_mean_5m, card_count_1d, card_mean_1d, card_count_7d,
        card_mean_7d, card_count_30d, card_mean_30d, seconds_since_last or NaN, terminal_count_1d, terminal_risk_1d,
        terminal_count_7d, terminal_risk_7d, terminal_count_30d, terminal_risk_30d,
    }
}

/// The features of a payment at night, far above what is usual.
const PAYMENT: [f32; 18] =
    [900.0, 0.0, 1.0, 3.0, 310.0, 9.0, 110.0, 20.0, 60.0, 80.0, 55.0, 40.0, 12.0, 0.5, 70.0, 0.4, 300.0, 0.1];

fn bytes(model: &str) -> Vec<u8> {
    fs::read(project().join("models").join(model)).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the score of the payment.
fn score(model: &Model) -> f32 {
    let inputs = [Tensor { shape: vec![PAYMENT.len()], elements: Elements::F32(PAYMENT.to_vec()) }];
    let mut outputs: Vec<Tensor> = model.outputs().iter().map(Tensor::empty).collect();
    model.open().unwrap().run(1, &inputs, &mut outputs).unwrap();
    let Elements::F32(probabilities) = &outputs[0].elements else { panic!("{outputs:?}") };
    probabilities[1]
}

/// Returns the line of `golden.jsonl` that states this score of the payment.
fn golden(score: f32) -> Vec<u8> {
    json!({ "features": PAYMENT, "score": score }).to_string().into_bytes()
}

/// A running registry, and the folder that versions are fetched into.
struct Registry {
    running: Running<Mlflow>,
    cache: TempDir,
}

impl Registry {
    fn start() -> Option<Self> {
        let running = started(mlflow::NAME, Mlflow::start)?;
        Some(Self { running, cache: tempfile::tempdir().unwrap() })
    }

    fn server(&mut self) -> &mut Mlflow {
        &mut self.running.server
    }

    fn repository(&self) -> ModelRepository {
        ModelRepository::mlflow(&self.running.server.url(), self.cache.path())
    }

    fn load(&self, wanted: &str) -> Result<Model, ModelError> {
        let found = self.repository().find(&wanted.parse().unwrap())?;
        found.load::<FraudFeatures>("probabilities", 1, &SessionSettings::default())
    }

    /// Asserts that the name means the version of this number, with this file.
    #[track_caller]
    fn means(&self, wanted: &str, version: u64, model: &str) {
        let loaded = self.load(wanted).unwrap_or_else(|error| panic!("{wanted}: {}", with_causes(&error)));
        let (info, expected) = (loaded.info(), bytes(model));
        assert_eq!((info.version, &info.hash), (Some(version), &sha256(&expected)[..16].to_owned()), "{wanted}");
        let file = self.repository().find(&wanted.parse().unwrap()).unwrap().path();
        assert!(fs::read(file).unwrap() == expected, "{wanted} is another file");
    }

    /// Asserts that the version is refused with messages that have all of these.
    #[track_caller]
    fn refused(&self, wanted: &str, why: &[&str]) {
        let refusal = with_causes(&self.load(wanted).unwrap_err());
        println!("{wanted}: {refusal}");
        assert!(why.iter().all(|why| refusal.contains(why)), "{wanted}: {refusal}; wanted: {why:?}");
    }

    /// Returns how many files the server was asked for.
    fn fetched(&self) -> usize {
        let log = self.running.server.log().unwrap();
        log.lines().filter(|line| line.contains("\"GET /api/2.0/mlflow-artifacts/artifacts/")).count()
    }

    fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Value {
        let url = format!("{}/api/2.0/{path}", self.running.server.url());
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = ureq::http::Request::builder().method(method).uri(&url);
        let mut answer = agent.run(request.header("Content-Type", "application/json").body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {} {text}", answer.status());
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("mlflow/{path}"), body.to_string().into_bytes())
    }

    fn upload(&self, place: &str, files: &[(&str, &[u8])]) {
        let place = place.strip_prefix("mlflow-artifacts:/").unwrap();
        for (file, content) in files {
            self.ask("PUT", &format!("mlflow-artifacts/artifacts/{place}/{file}"), content.to_vec());
        }
    }

    /// Uploads files as artifacts of a run. Returns what a version is registered with.
    fn run_with(&self, files: &[(&str, &[u8])]) -> Value {
        let run = self.post("runs/create", &json!({ "experiment_id": "0", "start_time": 1 }));
        let info = &run["run"]["info"];
        let place = format!("{}/model", info["artifact_uri"].as_str().unwrap());
        self.upload(&place, files);
        json!({ "source": place, "run_id": info["run_id"] })
    }

    /// Uploads files as a logged model, as MLflow's `log_model` does. Returns what a version is registered with.
    fn logged_with(&self, files: &[(&str, &[u8])]) -> Value {
        let logged = self.post("logged-models", &json!({ "experiment_id": "0", "name": "model" }));
        let info = &logged["model"]["info"];
        self.upload(info["artifact_uri"].as_str().unwrap(), files);
        let id = info["model_id"].as_str().unwrap();
        let ready = json!({ "model_id": id, "status": "LOGGED_MODEL_READY" });
        self.ask("PATCH", &format!("mlflow/logged-models/{id}"), ready.to_string().into_bytes());
        json!({ "source": format!("models:/{id}"), "model_id": id })
    }

    fn create(&self, model: &str) {
        self.post("registered-models/create", &json!({ "name": model }));
    }

    /// Registers the next version of a model. Returns its number.
    fn register(&self, model: &str, from: &Value, sha256: Option<&str>) -> u64 {
        let mut version = from.clone();
        version["name"] = json!(model);
        version["tags"] = sha256.map(|sha256| json!({ "key": "sha256", "value": sha256 })).into_iter().collect();
        let made = self.post("model-versions/create", &version);
        made["model_version"]["version"].as_str().unwrap().parse().unwrap()
    }

    fn set_alias(&self, model: &str, alias: &str, version: u64) {
        let alias = json!({ "name": model, "alias": alias, "version": version.to_string() });
        self.post("registered-models/alias", &alias);
    }
}

/// An alias means its version, moves, and the latest version is the one with the largest number.
fn names_mean_versions(registry: &Registry) {
    let (good, worse) = (bytes("fraud_velocity.onnx"), bytes("fraud_velocity_worse.onnx"));
    registry.create("fraud");
    let first = registry.run_with(&[("MLmodel", b"flavors: {}"), ("model.onnx", &good)]);
    let second = registry.logged_with(&[("MLmodel", b"flavors: {}"), ("worse.onnx", &worse)]);
    assert_eq!(registry.register("fraud", &first, None), 1);
    assert_eq!(registry.register("fraud", &second, Some(&sha256(&worse).to_uppercase())), 2);
    registry.set_alias("fraud", "champion", 1);
    registry.set_alias("fraud", "challenger", 2);
    registry.means("fraud@champion", 1, "fraud_velocity.onnx");
    registry.means("fraud@challenger", 2, "fraud_velocity_worse.onnx");
    registry.means("fraud", 2, "fraud_velocity_worse.onnx");
    registry.set_alias("fraud", "champion", 2);
    registry.means("fraud@champion", 2, "fraud_velocity_worse.onnx");
    registry.means("fraud/1", 1, "fraud_velocity.onnx");
    // By name, "9" would come last.
    for version in 3..=10 {
        assert_eq!(registry.register("fraud", &first, Some(&sha256(&good))), version);
    }
    registry.means("fraud", 10, "fraud_velocity.onnx");
    assert_eq!(registry.repository().versions("fraud").unwrap(), (1..=10).collect::<Vec<_>>());
    // Both files, and that of version 10: nothing else was fetched, although each was found several times.
    assert_eq!(registry.fetched(), 3);
}

/// All characters that a name may have are sent so that the registry understands them.
fn names_are_any_text(registry: &Registry) {
    let source = registry.run_with(&[("model.onnx", &bytes("fraud_velocity_worse.onnx"))]);
    let both = "card's \"fraud\"";
    for name in ["card's fraud", "50 % \"sure\"", "fraud&name=x+y#1?", "Käufer.v2", both] {
        registry.create(name);
        registry.register(name, &source, None);
        registry.set_alias(name, "champion", 1);
        for wanted in [format!("{name}/1"), format!("{name}@champion")] {
            registry.means(&wanted, 1, "fraud_velocity_worse.onnx");
        }
        if name == both {
            registry.refused(name, &["its name has both kinds of quotes"]);
        } else {
            registry.means(name, 1, "fraud_velocity_worse.onnx");
            assert_eq!(registry.repository().versions(name).unwrap(), [1], "{name}");
        }
    }
}

/// A hash that is stated is that of the file, before it is fetched and later.
fn wrong_hashes_are_refused(registry: &Registry) {
    let worse = bytes("fraud_velocity_worse.onnx");
    let (hash, other) = (sha256(&worse), sha256(b"another file"));
    registry.create("tagged");
    let source = registry.run_with(&[("model.onnx", &worse)]);
    registry.register("tagged", &source, Some(&other));
    registry.register("tagged", &source, None);
    registry.set_alias("tagged", "champion", 1);
    registry.set_alias("tagged", "later", 2);
    for wanted in ["tagged/1", "tagged@champion"] {
        registry.refused(wanted, &[&hash, &other, "it was changed after it was registered"]);
    }
    registry.means("tagged@later", 2, "fraud_velocity_worse.onnx");
    let tag = json!({ "name": "tagged", "version": "2", "key": "sha256", "value": other });
    registry.post("model-versions/set-tag", &tag);
    registry.refused("tagged@later", &[&hash, &other, "another file was registered under the same number"]);
}

/// What is not there is said to be not there.
fn what_is_missing_is_named(registry: &Registry) {
    registry.refused("fraud@nobody", &["fraud@nobody", "400 Bad Request: Registered model alias nobody not found"]);
    registry.refused("fraud/99", &["404 Not Found: Model Version (name=fraud, version=99) not found"]);
    registry.refused("nothing@champion", &["404 Not Found: Registered Model with name=nothing not found"]);
    registry.refused("nothing/1", &["404 Not Found: Model Version (name=nothing, version=1) not found"]);
    registry.refused("nothing", &["the registry has no version of it that is READY"]);
    assert!(registry.repository().versions("nothing").unwrap().is_empty());
    registry.create("empty");
    registry.refused("empty", &["the registry has no version of it that is READY"]);
    let pickle = registry.run_with(&[("MLmodel", b"flavors: {}"), ("model.pkl", b"?")]);
    registry.register("empty", &pickle, None);
    registry.refused("empty", &["its version 1 has no model.onnx; it has: MLmodel, model.pkl"]);
}

/// Rows beside the model are fetched, and must have the scores that they state.
fn golden_rows_are_checked(registry: &Registry) {
    let good = bytes("fraud_velocity.onnx");
    let path = project().join("models/fraud_velocity.onnx");
    let right = score(&Model::load::<FraudFeatures>(&path, "probabilities", 1).unwrap());
    registry.create("golden");
    for stated in [right, right / 2.0] {
        let source = registry.run_with(&[("model.onnx", &good), ("golden.jsonl", &golden(stated))]);
        registry.register("golden", &source, Some(&sha256(&good)));
    }
    let model = registry.load("golden/1").unwrap();
    assert_eq!(score(&model), right);
    registry.refused("golden/2", &["golden.jsonl", "1 of 1 rows have other scores; line 1: the score is"]);
}

/// A number that was fetched needs no registry; what the registry has to say fails, until it is back.
fn without_the_server(registry: &mut Registry) {
    let source = registry.run_with(&[("model.onnx", &bytes("fraud_velocity.onnx"))]);
    registry.register("fraud", &source, None);
    let (repository, wanted) = (registry.repository(), "fraud@champion".parse().unwrap());
    assert_eq!(repository.find(&wanted).unwrap().version(), 2);
    let before = registry.fetched();
    registry.server().kill().unwrap();
    for (version, model) in [(1, "fraud_velocity.onnx"), (2, "fraud_velocity_worse.onnx"), (10, "fraud_velocity.onnx")]
    {
        registry.means(&format!("fraud/{version}"), version, model);
    }
    registry.load("golden/1").unwrap();
    registry.refused("golden/2", &["rows have other scores"]);
    let url = registry.running.server.url();
    // Version 11 was not fetched.
    for wanted in ["fraud@champion", "fraud", "fraud/11"] {
        registry.refused(wanted, &[wanted, &url, "the registry does not answer"]);
    }
    registry.server().resume().unwrap();
    // The connection that this repository has kept is no longer there.
    assert_eq!(repository.find(&wanted).unwrap().version(), 2);
    registry.set_alias("fraud", "champion", 1);
    assert_eq!(repository.find(&wanted).unwrap().version(), 1);
    registry.means("fraud/11", 11, "fraud_velocity.onnx");
    assert_eq!(registry.fetched(), before + 1);
}

#[test]
#[ignore = "MLflow takes long to start: `cargo xtask soak --only registry` runs it"]
fn versions_come_out_of_a_real_mlflow_and_do_not_need_it_twice() {
    let Some(mut registry) = Registry::start() else { return };
    names_mean_versions(&registry);
    names_are_any_text(&registry);
    wrong_hashes_are_refused(&registry);
    what_is_missing_is_named(&registry);
    golden_rows_are_checked(&registry);
    without_the_server(&mut registry);
}
