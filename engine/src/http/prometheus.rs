//! The text of `/metrics`.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::metrics::Snapshot;

/// Returns the snapshot in the OpenMetrics text format.
pub(super) fn text(snapshot: &Snapshot) -> String {
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
