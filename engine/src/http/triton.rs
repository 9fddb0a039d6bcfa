//! The model repository extension of Triton Inference Server, for tools that know it: which versions there are, have a
//! version score, have it not be tried any more. It asks for the same changes as `/api/v1/changes`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::actions;
use super::problem::Problem;
use super::shown::Shown;
use crate::control::switchboard::Step;

/// Time between two looks whether a change is decided, and how long it is waited for.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

type Job = State<Arc<Shown>>;

pub(super) fn add(router: Router<Arc<Shown>>) -> Router<Arc<Shown>> {
    router
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    ready: bool,
}

/// A version, as Triton lists it.
#[derive(Serialize)]
struct Version {
    name: String,
    version: String,
    state: &'static str,
    reason: String,
}

/// Lists the versions that are loaded. All of them are ready: one that is being loaded is not in the list yet.
async fn index(State(shown): Job, body: Bytes) -> Result<Response, Problem> {
    let Wanted { ready: _ } = actions::body(&body)?;
    let statuses = shown.watched.process.control.statuses();
    let versions = statuses.values().flat_map(|status| status["versions"].as_array().into_iter().flatten());
    let listed = versions.map(|version| Version {
        name: version["name"].as_str().unwrap_or_default().to_owned(),
        version: version["version"].as_u64().map_or_else(String::new, |number| number.to_string()),
        state: "READY",
        reason: String::new(),
    });
    Ok(Json(listed.collect::<Vec<_>>()).into_response())
}

/// Has the model, or the version that `model/3` or `model@alias` names, score from the next epoch on. As in Triton, the answer
/// comes once it is loaded.
async fn load(State(shown): Job, Path(model): Path<String>) -> Result<StatusCode, Refused> {
    let name = model.split(['/', '@']).next().unwrap_or_default();
    change(&shown, name, |_| Ok(json!({ "switch": { "model": model } }))).await
}

/// Ends the canary or the shadow that is this model.
async fn unload(State(shown): Job, Path(model): Path<String>) -> Result<StatusCode, Refused> {
    let of = |status: &Value| {
        let is = |part: &str| status[part]["name"] == model.as_str();
        match (is("canary"), is("shadow")) {
            (true, _) => Ok(json!({ "end": "canary" })),
            (_, true) => Ok(json!({ "end": "shadow" })),
            _ => Err(format!(
                "\"{model}\" is neither a canary nor a shadow; what scores is replaced by another version, and not unloaded"
            )),
        }
    };
    change(&shown, &model, of).await
}

/// An error as Triton says it.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn refused(status: StatusCode, error: impl Into<String>) -> Refused {
    Refused(status, error.into())
}

/// Asks the operator that has versions of `model` for a change, and waits until it is decided.
async fn change(
    shown: &Shown,
    model: &str,
    wanted: impl Fn(&Value) -> Result<Value, String>,
) -> Result<StatusCode, Refused> {
    let process = &shown.watched.process;
    let statuses = process.control.statuses();
    let has = |status: &Value| {
        status["versions"].as_array().is_some_and(|all| all.iter().any(|version| version["name"] == model))
    };
    let (operator, status) = match statuses.iter().filter(|(_, status)| has(status)).collect::<Vec<_>>()[..] {
        [(operator, status)] => (operator.clone(), status),
        [] => {
            let error = format!("no operator of this job has versions of \"{model}\"");
            return Err(refused(StatusCode::NOT_FOUND, error));
        }
        _ => {
            let error = format!("several operators have versions of \"{model}\": name one under /api/v1/changes");
            return Err(refused(StatusCode::CONFLICT, error));
        }
    };
    let change = wanted(status).map_err(|error| refused(StatusCode::BAD_REQUEST, error))?;
    let by = Some("HTTP, as Triton".to_owned());
    let id = actions::Change { operator, change, by, ..actions::Change::default() }.ask(shown);
    let decided = async {
        loop {
            match process.control.changes().into_iter().find(|change| change.id == id).map(|change| change.step) {
                Some(Step::Scheduled { .. }) => return Ok(StatusCode::OK),
                Some(Step::Refused { error }) => return Err(refused(StatusCode::BAD_REQUEST, error)),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, decided).await.unwrap_or_else(|_| {
        Err(refused(StatusCode::GATEWAY_TIMEOUT, format!("not decided within {PATIENCE:?}: see /api/v1/changes")))
    })
}
