//! The model repository extension of Triton Inference Server, for tools that know it: which versions there are, have a
//! version score, have it not be tried any more. And beside it, in the same manner, the rollout of a model. All of it asks
//! for the same changes as `/api/v1/changes`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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
        .route("/v2/models/{model}/rollout", get(rollout).post(roll_on))
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

/// What is to become of the rollout of a model.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Rolling {
    /// What a change `rollout` has: the version, and settings.
    Start(Value),
    /// The next step begins, whatever its checks say.
    Step {},
    Suspend(bool),
    Promote {},
    RollBack {},
}

/// Shows what scores, and how far the rollout is.
async fn rollout(State(shown): Job, Path(model): Path<String>) -> Result<Response, Refused> {
    let statuses = shown.watched.process.control.statuses();
    let (operator, status) = operator_of(&statuses, &model)?;
    let mut answer = json!({ "operator": operator });
    for part in ["primary", "canary", "shadow", "roles_of_step", "compared", "rollout"] {
        answer[part] = status[part].clone();
    }
    Ok(Json(answer).into_response())
}

/// Starts a rollout, or has it go another way.
async fn roll_on(State(shown): Job, Path(model): Path<String>, body: Bytes) -> Result<StatusCode, Refused> {
    let wrong = |error| refused(StatusCode::BAD_REQUEST, format!("the body: {error}"));
    let rolling: Rolling = serde_json::from_slice(&body).map_err(wrong)?;
    let wanted = |status: &Value| match &rolling {
        Rolling::Start(rollout) => Ok(json!({ "rollout": rollout })),
        Rolling::Step {} => next_step(&status["rollout"]),
        Rolling::Suspend(suspended) => Ok(json!({ "suspend": suspended })),
        Rolling::Promote {} => Ok(json!({ "promote": {} })),
        Rolling::RollBack {} => Ok(json!({ "roll_back": {} })),
    };
    change(&shown, &model, wanted).await
}

/// Returns the change that has the canary of a rollout score for as many keys as its next step says.
fn next_step(rollout: &Value) -> Result<Value, String> {
    if rollout.is_null() {
        return Err("there is no rollout, so it has no next step".to_owned());
    }
    let next = rollout["step"].as_u64().map_or(0, |step| step + 1);
    let share = usize::try_from(next).ok().and_then(|next| rollout["settings"]["steps"].get(next));
    let share = share.ok_or("the rollout is at its last step: promote its version, or roll it back")?;
    Ok(json!({ "canary": { "model": rollout["model"], "share": share, "seed": rollout["id"] } }))
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

/// Returns the operator that has versions of `model`, and what it says of itself.
fn operator_of<'s>(statuses: &'s BTreeMap<String, Value>, model: &str) -> Result<(&'s str, &'s Value), Refused> {
    let has = |status: &Value| {
        status["versions"].as_array().is_some_and(|all| all.iter().any(|version| version["name"] == model))
    };
    match statuses.iter().filter(|(_, status)| has(status)).collect::<Vec<_>>()[..] {
        [(operator, status)] => Ok((operator, status)),
        [] => {
            let error = format!("no operator of this job has versions of \"{model}\"");
            Err(refused(StatusCode::NOT_FOUND, error))
        }
        _ => {
            let error = format!("several operators have versions of \"{model}\": name one under /api/v1/changes");
            Err(refused(StatusCode::CONFLICT, error))
        }
    }
}

/// Asks the operator that has versions of `model` for a change, and waits until it is decided.
async fn change(
    shown: &Shown,
    model: &str,
    wanted: impl Fn(&Value) -> Result<Value, String>,
) -> Result<StatusCode, Refused> {
    let process = &shown.watched.process;
    let statuses = process.control.statuses();
    let (operator, status) = operator_of(&statuses, model)?;
    let (operator, change) =
        (operator.to_owned(), wanted(status).map_err(|error| refused(StatusCode::BAD_REQUEST, error))?);
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
