//! The status page: `/` for people, `/status` (JSON) for programs, `/metrics` for Prometheus.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tiny_http::{Header, Response, Server};

use crate::error::{JobError, Remedy};
use crate::metrics::Snapshot;
use crate::threads;

const PAGE: &str = include_str!("page.html");

/// The server of the status page; it ends when this is dropped.
pub(crate) struct Page {
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

/// Serves the page at `address` until the returned value is dropped. `look` returns the current snapshot of the job.
pub(crate) fn serve(address: SocketAddr, look: impl Fn() -> Snapshot + Send + 'static) -> Result<Page, JobError> {
    let server = Server::http(address).map_err(|e| {
        JobError::setting(format!("cannot serve the status page at {address}: {e}"), [Remedy::Setting("http")])
    })?;
    let server = Arc::new(server);
    let listening = Arc::clone(&server);
    let serve = move || {
        for request in listening.incoming_requests() {
            let response = answer(request.url(), &look);
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

fn answer(path: &str, look: &impl Fn() -> Snapshot) -> Response<Cursor<Vec<u8>>> {
    match path {
        "/" => with_type(PAGE.to_owned(), "text/html; charset=utf-8"),
        "/status" => match serde_json::to_string(&look()) {
            Ok(json) => with_type(json, "application/json"),
            Err(error) => Response::from_string(error.to_string()).with_status_code(500),
        },
        "/metrics" => {
            let text = prometheus(&look());
            with_type(text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        }
        _ => Response::from_string("there is no such page: there are /, /status and /metrics").with_status_code(404),
    }
}

fn with_type(body: String, content_type: &str) -> Response<Cursor<Vec<u8>>> {
    let response = Response::from_string(body);
    match Header::from_bytes("Content-Type", content_type) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}

/// Returns the snapshot in the OpenMetrics text format.
fn prometheus(snapshot: &Snapshot) -> String {
    let mut root = Registry::default();
    let registry = root.sub_registry_with_prefix("tidemill");
    let gauge = |value: i64| ConstGauge::new(value);
    registry.register("epoch", "The current epoch", gauge(snapshot.epoch as i64));
    registry.register(
        "committed_epoch",
        "The newest committed epoch",
        gauge(snapshot.committed_epoch.unwrap_or(0) as i64),
    );
    registry.register("in_flight_records", "Records in flight in this process", gauge(snapshot.in_flight));
    registry.register(
        "pending_records",
        "Records that wait for the watermark in this process",
        gauge(snapshot.pending),
    );
    registry.register("delta_bytes", "Bytes of deltas written", ConstCounter::new(snapshot.delta_bytes));
    registry.register(
        "checkpoint_files_lost",
        "Checkpoint files that were removed or truncated while the job ran",
        ConstCounter::new(snapshot.checkpoint_files_lost),
    );
    let state_bytes = i64::try_from(snapshot.state_bytes).unwrap_or(i64::MAX);
    registry.register("state_bytes", "Memory of keyed state in this process, estimated", gauge(state_bytes));
    let checkpoint = snapshot.checkpoint_us;
    for (quantile, value) in [("0.5", checkpoint.p50), ("0.99", checkpoint.p99), ("0.999", checkpoint.p999)] {
        let labelled = registry.sub_registry_with_label(("quantile".into(), quantile.to_owned().into()));
        labelled.register("checkpoint_us", "From tick to commit, microseconds", gauge(value as i64));
    }
    for (reason, count) in &snapshot.mesh_refused {
        let labelled = registry.sub_registry_with_label(("reason".into(), reason.clone().into()));
        let help = "Connections refused while the processes of the job connected";
        labelled.register("mesh_refused", help, ConstCounter::new(*count));
    }
    for operator in &snapshot.operators {
        let labels = [("operator", &operator.name), ("kind", &operator.kind)];
        let labels = labels.into_iter().map(|(k, v)| (k.into(), v.clone().into()));
        let own = registry.sub_registry_with_labels(labels);
        for (name, value) in &operator.counters {
            own.register(name, format!("{name} of the operator"), ConstCounter::new(*value));
        }
        for (name, value) in &operator.gauges {
            own.register(name, format!("{name} of the operator"), gauge(*value));
        }
        if let Some(watermark) = operator.watermark_ms {
            own.register("watermark_ms", "Event time reached, ms since the Unix epoch", gauge(watermark));
        }
        for (name, percentiles) in &operator.distributions {
            let quantiles = [("0.5", percentiles.p50), ("0.99", percentiles.p99), ("0.999", percentiles.p999)];
            for (quantile, value) in quantiles {
                let labelled = own.sub_registry_with_label(("quantile".into(), quantile.to_owned().into()));
                labelled.register(name, format!("{name} of the operator"), gauge(value as i64));
            }
        }
    }
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &root) {
        tracing::error!(%error, "could not encode the metrics");
    }
    text
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
