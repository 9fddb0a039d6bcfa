//! Versions out of MLflow's registry: a stand-in answers as MLflow 3.17 does, and lies as asked.

use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidemill::infer::{ModelError, ModelRepository, SessionSettings};
use tidemill::prelude::*;

use crate::onnx::{Pair, file};

/// What the registry says.
struct Registry {
    /// The version that the alias `champion` names.
    champion: u64,
    status: &'static str,
    /// The tag `sha256`, if there is one.
    tag: Option<String>,
    uri: String,
    model: Vec<u8>,
    /// The number of bytes of the model that it serves.
    served: usize,
    files: Vec<&'static str>,
    token: Option<&'static str>,
    asked: Vec<String>,
}

impl Registry {
    fn answer(&mut self, uri: &Uri, headers: &HeaderMap) -> Response {
        let path = uri.path();
        self.asked.push(path.to_owned());
        if let Some(token) = self.token
            && headers.get("authorization").and_then(|given| given.to_str().ok()) != Some(&format!("Bearer {token}"))
        {
            return (StatusCode::UNAUTHORIZED, "You are not authenticated").into_response();
        }
        let query = uri.query().unwrap_or_default();
        let version = |number: u64| {
            let tags: Vec<Value> = self.tag.iter().map(|tag| json!({ "key": "sha256", "value": tag })).collect();
            json!({
                "name": "pairs", "version": number.to_string(), "creation_timestamp": 1, "current_stage": "None",
                "source": "models:/m-1", "status": self.status, "tags": tags,
            })
        };
        let not_found = |message: &str, status: StatusCode| {
            (status, axum::Json(json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": message }))).into_response()
        };
        let ok = |value: Value| axum::Json(value).into_response();
        match path.strip_prefix("/api/2.0/").unwrap_or(path) {
            "mlflow/registered-models/alias" if query.ends_with("alias=champion") => {
                ok(json!({ "model_version": version(self.champion) }))
            }
            "mlflow/registered-models/alias" => {
                not_found("Registered model alias nobody not found.", StatusCode::BAD_REQUEST)
            }
            "mlflow/model-versions/get" if query.contains("version=9") => {
                not_found("Model Version (name=pairs, version=9) not found", StatusCode::NOT_FOUND)
            }
            "mlflow/model-versions/get" => {
                let number = query.rsplit('=').next().unwrap().parse().unwrap();
                ok(json!({ "model_version": version(number) }))
            }
            "mlflow/model-versions/search" => {
                assert!(query.contains("filter=name%3D%27pairs%27"), "{query}");
                ok(json!({ "model_versions": [version(2), version(10), version(3)] }))
            }
            "mlflow/model-versions/get-download-uri" => ok(json!({ "artifact_uri": self.uri })),
            "mlflow-artifacts/artifacts" => {
                let of = |name: &&str| {
                    let size = if *name == "model.onnx" { self.model.len() } else { 2 };
                    json!({ "path": name, "is_dir": false, "file_size": size })
                };
                ok(json!({ "files": self.files.iter().map(of).collect::<Vec<_>>() }))
            }
            file if file.ends_with("/model.onnx") => self.model[..self.served].to_vec().into_response(),
            file if file.starts_with("mlflow-artifacts/artifacts/") => "{}".into_response(),
            _ => not_found(path, StatusCode::NOT_FOUND),
        }
    }
}

struct Server {
    url: String,
    registry: Arc<Mutex<Registry>>,
    cache: tempfile::TempDir,
}

impl Server {
    fn start(model: &str) -> Self {
        let model = fs::read(file(model)).unwrap();
        let registry = Arc::new(Mutex::new(Registry {
            champion: 3,
            status: "READY",
            tag: None,
            uri: "mlflow-artifacts:/1/models/m-1/artifacts".to_owned(),
            served: model.len(),
            model,
            files: vec!["MLmodel", "model.onnx", "requirements.txt"],
            token: None,
            asked: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&registry);
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
            let answer = shared.lock().unwrap().answer(&uri, &headers);
            async move { answer }
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await })
        });
        Self { url, registry, cache: tempfile::tempdir().unwrap() }
    }

    fn set(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap()
    }

    fn repository(&self) -> ModelRepository {
        ModelRepository::mlflow(&self.url, self.cache.path())
    }

    fn load(&self, wanted: &str) -> Result<Model, ModelError> {
        let found = self.repository().find(&wanted.parse().unwrap())?;
        found.load::<Pair>("score", 0, &SessionSettings::default())
    }

    #[track_caller]
    fn refused(&self, wanted: &str, why: &str) {
        let refusal = tidemill::error::with_causes(&self.load(wanted).unwrap_err());
        assert!(refusal.contains(why) && refusal.contains(&self.url), "{refusal}");
        assert!(!self.cache.path().join("pairs/3/model.json").exists(), "nothing half is left as a version");
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_version_is_fetched_once_and_is_there_without_the_registry() {
    let server = Server::start("tree.onnx");
    let hash = sha256(&server.set().model);
    server.set().tag = Some(hash.clone());
    let model = server.load("pairs@champion").unwrap();
    assert_eq!(model.info().to_string(), format!("pairs/3@{}", &hash[..16]));
    assert_eq!(server.load("pairs").unwrap().info().version, Some(10), "the largest number, not the last in order");
    assert_eq!(server.repository().versions("pairs").unwrap(), [2, 3, 10]);
    // The alias is asked for anew, the files are not fetched again, and a number asks for nothing.
    server.set().asked.clear();
    server.load("pairs@champion").unwrap();
    assert_eq!(server.set().asked, ["/api/2.0/mlflow/registered-models/alias"]);
    server.load("pairs/3").unwrap();
    assert_eq!(server.set().asked.len(), 1);
    let gone = ModelRepository::mlflow("http://127.0.0.1:9", server.cache.path());
    gone.find(&"pairs/3".parse().unwrap()).unwrap();
    let refusal = tidemill::error::with_causes(&gone.find(&"pairs@champion".parse().unwrap()).unwrap_err());
    assert!(refusal.contains("the registry does not answer") && refusal.contains("127.0.0.1:9"), "{refusal}");
}

#[test]
fn a_registry_that_lies_is_not_believed() {
    let server = Server::start("tree.onnx");
    server.set().tag = Some("0".repeat(64));
    server.refused("pairs@champion", "has the tag sha256=0000");
    (server.set().tag, server.set().served) = (None, 100);
    server.refused("pairs/3", "not all of it was served");
    let whole = server.set().model.len();
    (server.set().served, server.set().status) = (whole, "PENDING_REGISTRATION");
    server.refused("pairs@champion", "is PENDING_REGISTRATION, and not READY");
    server.set().status = "READY";
    server.set().files = vec!["MLmodel", "model.pkl"];
    server.refused("pairs/3", "has no model.onnx; it has: MLmodel, model.pkl");
    server.set().files = vec!["MLmodel", "model.onnx"];
    server.set().uri = "s3://bucket/1/models".to_owned();
    server.refused("pairs/3", "start it with --serve-artifacts");
    server.set().uri = "mlflow-artifacts://127.0.0.1:5000/1/models/m-1/artifacts".to_owned();
    server.refused("pairs@nobody", "Registered model alias nobody not found.");
    server.refused("pairs/9", "404 Not Found: Model Version");
    server.set().token = Some("secret");
    server.refused("pairs/3", "its token is taken from MLFLOW_TRACKING_TOKEN");
    server.set().token = None;
    server.load("pairs/3").unwrap();
    // The same number means another file now.
    server.set().tag = Some("1".repeat(64));
    let refusal = tidemill::error::with_causes(&server.load("pairs@champion").unwrap_err());
    assert!(refusal.contains("another file was registered under the same number"), "{refusal}");
}
