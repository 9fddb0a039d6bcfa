//! The status page: `/` for people, `/status` (JSON) for programs, `/metrics` for Prometheus, `/livez` and `/readyz` for
//! what watches over processes.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;

use tiny_http::{Header, Request, Response, Server};

use super::execution::Run;
use super::health::Probe;
use super::{exposition, health};
use crate::error::{JobError, Remedy};
use crate::metrics::JobState;
use crate::threads;

const PAGE: &str = include_str!("page.html");

/// The server of the status page; it ends when this is dropped.
pub(super) struct Page {
    server: Arc<Server>,
    thread: Option<threads::Handle<()>>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Serves the page of `run` at `address` until the returned value is dropped.
pub(super) fn serve(address: SocketAddr, run: Arc<Run>) -> Result<Page, JobError> {
    let server = Server::http(address).map_err(|e| {
        JobError::setting(format!("cannot serve the status page at {address}: {e}"), [Remedy::Setting("http")])
    })?;
    let server = Arc::new(server);
    let listening = Arc::clone(&server);
    let serve = move || {
        for request in listening.incoming_requests() {
            let response = answer(&request, &run);
            if let Err(error) = request.respond(response) {
                tracing::debug!(%error, "a client of the status page has disconnected");
            }
        }
    };
    let thread = threads::spawn("http".to_owned(), serve)
        .map_err(|source| JobError::Io { what: "start the thread of the status page".to_owned(), source })?;
    tracing::info!("the status page is at http://{address}/, metrics are at http://{address}/metrics");
    Ok(Page { server, thread: Some(thread) })
}

fn answer(request: &Request, run: &Run) -> Response<Cursor<Vec<u8>>> {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let verbose = query.split('&').any(|part| part.split('=').next() == Some("verbose"));
    match path {
        "/" => with_type(PAGE.to_owned(), "text/html; charset=utf-8"),
        "/status" => match serde_json::to_string(&run.snapshot(JobState::Running)) {
            Ok(json) => with_type(json, "application/json"),
            Err(error) => Response::from_string(error.to_string()).with_status_code(500),
        },
        "/metrics" => {
            let accept = request.headers().iter().find(|header| header.field.equiv("Accept"));
            let (content_type, text) = exposition::metrics(run, accept.map(|header| header.value.as_str()));
            with_type(text, content_type)
        }
        "/livez" => probe(health::live(run, verbose)),
        "/readyz" => probe(health::ready(run, verbose)),
        _ => {
            let pages = "/, /status, /metrics, /livez and /readyz";
            Response::from_string(format!("there is no such page: there are {pages}")).with_status_code(404)
        }
    }
}

fn probe(Probe { status, body }: Probe) -> Response<Cursor<Vec<u8>>> {
    with_type(body, "text/plain; charset=utf-8").with_status_code(status)
}

fn with_type(body: String, content_type: &str) -> Response<Cursor<Vec<u8>>> {
    let response = Response::from_string(body);
    match Header::from_bytes("Content-Type", content_type) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// A number that an operator does not have made the script of the page fail: the page then said that the job was
    /// not reachable.
    #[test]
    fn the_page_shows_only_counters_that_each_operator_has() {
        let metrics = Metrics::default();
        let kinds = ["source", "keyed", "batch", "sink", "map"];
        let _operators = kinds.map(|kind| metrics.operator(kind, kind, 0));
        let shown: Vec<&str> = PAGE.split("number(c.").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(shown.len() >= 4, "{shown:?}");
        for operator in metrics.snapshot() {
            let has = |name: &&&str| operator.counters.contains_key(**name) || name.contains("??");
            assert!(shown.iter().all(|name| has(&name)), "{shown:?} of {operator:?}");
        }
    }
}
