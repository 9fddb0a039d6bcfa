//! What is served where.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;

use super::access::{self, Access};
use super::api::{changes, checkpoints, drift, graph, history, hotkeys, inference, job, logs, operators};
use super::problem::Problem;
use super::shown::Shown;
use super::tail::Watch;
use super::{actions, assets, cluster, events, headers, limits, take, triton};

type Job = State<Arc<Shown>>;

/// Returns everything that is served, with the checks that come before it.
pub(super) fn router(shown: Arc<Shown>, access: Arc<Access>) -> Router {
    triton::add(assets::add(Router::new()))
        .route("/livez", get(async |State(shown): Job, uri: Uri| probe((shown.watched.live)(is_verbose(&uri)))))
        .route("/readyz", get(async |State(shown): Job, uri: Uri| probe((shown.watched.ready)(is_verbose(&uri)))))
        .route("/status", get(async |State(shown): Job| Json(shown.snapshot())))
        .route("/metrics", get(metrics))
        .nest("/api/v1", api())
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .with_state(shown)
        .layer(middleware::from_fn(limits::read_body))
        .layer(middleware::from_fn_with_state(access, access::check))
        .layer(middleware::from_fn(headers::add))
}

fn api() -> Router<Arc<Shown>> {
    Router::new()
        .route("/job", get(async |State(shown): Job| Json(job::job(&shown, &shown.snapshot()))))
        .route("/graph", get(async |State(shown): Job| Json(graph::graph(&shown))))
        .route("/operators", get(async |State(shown): Job| Json(operators::operators(&shown, &shown.snapshot()))))
        .route("/checkpoints", get(async |State(shown): Job| Json(checkpoints::checkpoints(&shown))))
        .route("/history", get(history))
        .route("/inference", get(async |State(shown): Job| Json(inference::inference(&shown.snapshot()))))
        .route("/drift", get(async |State(shown): Job| Json(drift::drift(&shown))))
        .route("/hotkeys", get(async |State(shown): Job| Json(hotkeys::hot_keys(&shown))))
        .route("/logs", get(async || Json(logs::logs())))
        .route("/tail", get(tail))
        .route("/events", get(events))
        .route("/stop", post(stop))
        .route("/checkpoint", post(checkpoint))
        .route("/changes", get(async |State(shown): Job| Json(changes::changes(&shown))).post(change))
        .route("/models", get(async |State(shown): Job| Json(changes::operators(&shown))))
        .route("/savepoints", get(async |State(shown): Job| Json(shown.savepoints.list())).post(savepoint))
        .merge(of_all_processes())
        .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], DESCRIPTION)))
}

/// What is asked of each process, as one.
fn of_all_processes() -> Router<Arc<Shown>> {
    use super::cluster::{cluster, whole_checkpoints, whole_drift, whole_hot_keys, whole_inference, whole_logs};
    Router::new()
        .route("/cluster", get(async |State(job): Job, asked: HeaderMap| Json(cluster(&job, &asked).await)))
        .route("/cluster/history", get(whole_history))
        .route(
            "/cluster/checkpoints",
            get(async |State(job): Job, asked: HeaderMap| Json(whole_checkpoints(&job, &asked).await)),
        )
        .route(
            "/cluster/inference",
            get(async |State(job): Job, asked: HeaderMap| Json(whole_inference(&job, &asked).await)),
        )
        .route("/cluster/drift", get(async |State(job): Job, asked: HeaderMap| Json(whole_drift(&job, &asked).await)))
        .route(
            "/cluster/hotkeys",
            get(async |State(job): Job, asked: HeaderMap| Json(whole_hot_keys(&job, &asked).await)),
        )
        .route("/cluster/logs", get(async |State(job): Job, asked: HeaderMap| Json(whole_logs(&job, &asked).await)))
        .route("/cluster/tail", get(whole_tail))
}

/// What the API is, for programs and for people; a test compares it with the answers of a job.
const DESCRIPTION: &str = include_str!("openapi.json");

async fn metrics(State(shown): Job, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let (kind, content) = (shown.watched.metrics)(accept);
    ([(CONTENT_TYPE, kind)], content).into_response()
}

/// Returns whether `verbose` is in the query, with a value or without.
fn is_verbose(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")))
}

fn probe((status, text): (u16, String)) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text).into_response()
}

#[derive(Deserialize)]
struct Since {
    since: Option<i64>,
}

async fn history(State(shown): Job, asked: Asked<Since>) -> Result<Response, Problem> {
    let Since { since } = query(asked)?;
    Ok(Json(history::history(&shown, since.unwrap_or(i64::MIN))).into_response())
}

async fn whole_history(State(shown): Job, headers: HeaderMap, asked: Asked<Since>) -> Result<Response, Problem> {
    let Since { since } = query(asked)?;
    Ok(Json(cluster::whole_history(&shown, &headers, since.unwrap_or(i64::MIN)).await).into_response())
}

#[derive(Deserialize)]
struct Tail {
    stream: String,
    #[serde(default)]
    filter: String,
}

async fn tail(State(shown): Job, asked: Asked<Tail>) -> Result<Response, Problem> {
    let Tail { stream, filter } = query(asked)?;
    Ok(Json(Watch::of(&shown, stream, filter)?.look()).into_response())
}

async fn whole_tail(State(shown): Job, headers: HeaderMap, uri: Uri, asked: Asked<Tail>) -> Result<Response, Problem> {
    let Tail { stream, filter } = query(asked)?;
    let own = Watch::of(&shown, stream, filter)?.look();
    Ok(Json(cluster::whole_tail(&shown, &headers, own, uri.query().unwrap_or_default()).await).into_response())
}

async fn events(State(shown): Job, asked: Asked<events::Wanted>) -> Result<Response, Problem> {
    events::events(shown, query(asked)?)
}

async fn stop(State(shown): Job, body: Bytes) -> Result<Response, Problem> {
    Ok((StatusCode::ACCEPTED, [(LOCATION, "/api/v1/job")], Json(actions::stop(&shown, &body)?)).into_response())
}

async fn checkpoint(State(shown): Job) -> Result<Response, Problem> {
    Ok((StatusCode::ACCEPTED, [(LOCATION, "/api/v1/job")], Json(actions::checkpoint(&shown)?)).into_response())
}

async fn change(State(shown): Job, body: Bytes) -> Result<Response, Problem> {
    let asked = actions::change(&shown, &body)?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, "/api/v1/changes")], Json(asked)).into_response())
}

async fn savepoint(State(shown): Job, body: Bytes) -> Result<Response, Problem> {
    let begun = take::savepoint(&shown, &body)?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, "/api/v1/savepoints")], Json(begun)).into_response())
}

type Asked<Q> = Result<Query<Q>, QueryRejection>;

/// Returns the query of a request, or what is wrong with it.
fn query<Q>(asked: Asked<Q>) -> Result<Q, Problem> {
    asked.map(|Query(query)| query).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))
}

async fn no_such_page(uri: Uri) -> Problem {
    let detail = format!("there is no {}: the page is at /, and there are /status, /metrics and /api/v1", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} cannot be asked for with {method}", uri.path()))
}
