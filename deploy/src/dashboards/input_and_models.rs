//! What comes in, and what models make of it.

use super::dashboard::{Dashboard, Section};
use super::panel::{Panel, Unit};
use crate::promql;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "tidemill-input-and-models",
        title: "Tidemill / Input and models",
        description: "Partitions of topics, files, reference files; models, lookups, model servers.",
        sections: vec![kafka(), files(), models(), servers(), own()],
    }
}

/// The rate of a counter, by the labels of an operator and more.
fn rate(metric: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({metric}{{$S}}[$__rate_interval]))")
}

fn kafka() -> Section {
    let panels = vec![
        Panel::lines("Records not read yet", Unit::Count)
            .query("sum by (operator, partition) (tidemill_source_pending_records{$S})", "{{operator}} {{partition}}"),
        Panel::lines("Lag of each source", Unit::Count)
            .query("sum by (operator) (tidemill_source_lag_records{$S})", "{{operator}}"),
        Panel::lines("Partitions behind the clock", Unit::Seconds)
            .query(
                "time() - min by (operator, partition) (tidemill_source_watermark_timestamp_seconds{$S})",
                "{{operator}} {{partition}}",
            )
            .note("The slowest partition that is not idle holds the watermark of its source."),
        Panel::stack("Partitions by state", Unit::Count)
            .query("sum by (operator, state) (tidemill_source_partition_state{$S})", "{{operator}} {{state}}"),
        Panel::lines("Partitions that are read", Unit::Count)
            .query("sum by (operator, worker) (tidemill_source_partitions{$S})", "{{operator}}, worker {{worker}}"),
        Panel::lines("Errors of Kafka, and tombstones", Unit::PerSecond)
            .query(&rate("tidemill_kafka_errors_total", "operator"), "{{operator}}: errors")
            .query(&rate("tidemill_source_tombstones_total", "operator"), "{{operator}}: tombstones"),
    ];
    Section { title: "Kafka", panels }
}

fn files() -> Section {
    let panels = vec![
        Panel::lines("Files", Unit::PerSecond)
            .query(&rate("tidemill_source_rotations_total", "operator"), "{{operator}}: rotations")
            .query(&rate("tidemill_source_lost_files_total", "operator"), "{{operator}}: lost"),
        Panel::lines("Records too far in the future", Unit::RecordsPerSecond)
            .query(&rate("tidemill_source_too_far_ahead_records_total", "operator"), "{{operator}}"),
        Panel::lines("Rows of reference files", Unit::Count)
            .query("max by (operator) (tidemill_reference_rows{$S})", "{{operator}}"),
        Panel::lines("Versions of reference files", Unit::PerSecond)
            .query(&rate("tidemill_reference_versions_total", "operator, result"), "{{operator}}: {{result}}"),
    ];
    Section { title: "Files and reference files", panels }
}

fn models() -> Section {
    let sizes = "histogram_quantile(0.5, sum by (operator, le) (rate(tidemill_batch_size_records_bucket{$S}[$__rate_interval])))";
    let steps = "sum by (operator, step) (rate(tidemill_model_time_seconds_total{$S}[$__rate_interval])) \
                 / on (operator) group_left sum by (operator) (rate(tidemill_batches_total{$S}[$__rate_interval]))";
    let panels = vec![
        Panel::stack("Records by what gave their score", Unit::RecordsPerSecond)
            .query(&rate("tidemill_model_records_total", "operator, origin"), "{{operator}}: {{origin}}"),
        Panel::lines("Time of one batch, by step", Unit::Seconds).query(steps, "{{operator}}: {{step}}"),
        Panel::lines("One run of the model", Unit::Seconds)
            .query(&promql::latency("0.5", "inference"), "p50 {{operator}}")
            .query(&promql::latency("0.99", "inference"), "p99 {{operator}}"),
        Panel::lines("Records per batch", Unit::Count)
            .query(sizes, "median {{operator}}")
            .query("max by (operator) (tidemill_batch_size_limit_records{$S})", "limit {{operator}}"),
        Panel::lines("Batches, and rows fetched by lookups", Unit::PerSecond)
            .query(&rate("tidemill_batches_total", "operator"), "{{operator}}: batches")
            .query(&rate("tidemill_lookup_fetched_rows_total", "operator"), "{{operator}}: rows"),
        Panel::lines("What went wrong", Unit::PerSecond)
            .query(&rate("tidemill_batch_retries_total", "operator"), "{{operator}}: retries")
            .query(&rate("tidemill_model_bisections_total", "operator"), "{{operator}}: batches cut in halves")
            .query(&rate("tidemill_model_not_finite_scores_total", "operator"), "{{operator}}: NaN or infinite")
            .query(&rate("tidemill_model_odd_features_total", "operator, oddity"), "{{operator}}: features {{oddity}}"),
    ];
    Section { title: "Models and lookups", panels }
}

fn servers() -> Section {
    let panels = vec![
        Panel::lines("Calls to model servers", Unit::PerSecond)
            .query(&rate("tidemill_model_server_calls_total", "operator"), "{{operator}}: calls")
            .query(&rate("tidemill_model_server_failures_total", "operator"), "{{operator}}: failed")
            .query(&rate("tidemill_model_server_kept_back_calls_total", "operator"), "{{operator}}: kept back"),
        Panel::lines("Circuits", Unit::Count)
            .query("max by (operator) (tidemill_model_server_circuit_open{$S})", "{{operator}}: 1 is open")
            .query(
                "sum by (operator, to) (increase(tidemill_model_server_circuit_changes_total{$S}[$__rate_interval]))",
                "{{operator}}: changes to {{to}}",
            ),
    ];
    Section { title: "Model servers", panels }
}

fn own() -> Section {
    let quantile = |metric: &str| {
        format!("histogram_quantile(0.99, sum by (operator, name, le) (rate({metric}_bucket{{$S}}[$__rate_interval])))")
    };
    let panels = vec![
        Panel::lines("Counters of the program's own", Unit::PerSecond)
            .query(&rate("tidemill_user_events_total", "operator, name"), "{{operator}}: {{name}}"),
        Panel::lines("Gauges of the program's own", Unit::Count)
            .query("sum by (operator, name) (tidemill_user_value{$S})", "{{operator}}: {{name}}"),
        Panel::lines("Durations of the program's own", Unit::Seconds)
            .query(&quantile("tidemill_user_duration_seconds"), "p99 {{operator}}: {{name}}"),
        Panel::lines("Sizes of the program's own", Unit::Count)
            .query(&quantile("tidemill_user_size"), "p99 {{operator}}: {{name}}"),
    ];
    Section { title: "The program's own", panels }
}
