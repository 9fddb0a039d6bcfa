//! The series of a healthy job, and series that differ from them, in the notation of `promtool test rules`.

/// Seconds between two samples.
pub const INTERVAL: u64 = 30;
/// Number of samples: two hours, and what evaluation looks ahead of that.
pub const SAMPLES: u64 = 250;

pub(super) const JOB: &str = "tidemill";
pub(super) const INSTANCE: &str = "orders:9090";
pub(super) const JOB_NAME: &str = "orders";

/// A series and its samples, from time 0 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub name: String,
    pub values: String,
}

/// Returns a series of the healthy job's process. `labels` are those that Tidemill gives it, as text.
#[must_use]
pub fn series(metric: &str, labels: &str, values: &str) -> Series {
    at(INSTANCE, metric, labels, values)
}

/// Returns a series of another process.
pub(super) fn at(instance: &str, metric: &str, labels: &str, values: &str) -> Series {
    let comma = if labels.is_empty() { "" } else { "," };
    let name = format!("{metric}{{job=\"{JOB}\",instance=\"{instance}\"{comma}{labels}}}");
    Series { name, values: values.to_owned() }
}

/// The labels of the operators of the healthy job.
pub(super) const SOURCE: &str = r#"operator="payments",kind="source",worker="0""#;
pub(super) const KEYED: &str = r#"operator="totals",kind="keyed",worker="0""#;
pub(super) const MODEL: &str = r#"operator="score",kind="batch",worker="0""#;
pub(super) const SINK: &str = r#"operator="out",kind="sink",worker="0""#;
/// The labels of `tidemill_job_info`.
pub(super) const INFO: &str = r#"job_name="orders",version="0.1.0",workers="1",process="0",processes="1""#;

/// Labels and one more.
pub(super) fn and(labels: &str, name: &str, value: &str) -> String {
    format!("{labels},{name}=\"{value}\"")
}

/// Returns the series of a job to which nothing happens: 100 records a second, a few of them late or scored by the
/// fallback; a commit each second; its watermark two seconds behind.
#[must_use]
pub fn healthy() -> Vec<Series> {
    let (zero, one) = (format!("0x{SAMPLES}"), format!("1x{SAMPLES}"));
    // Per sample, which is per half a minute.
    let grows = |by: f64| format!("0+{by}x{SAMPLES}");
    let stays = |at: f64| format!("{at}x{SAMPLES}");
    let clock = |behind: i64| format!("{}+{INTERVAL}x{SAMPLES}", -behind);
    let mut all = vec![
        series("up", "", &one),
        series("tidemill_job_info", INFO, &one),
        series("process_start_time_seconds", "", &zero),
        series("process_open_fds", "", &stays(80.0)),
        series("process_max_fds", "", &stays(1024.0)),
        series("tidemill_state_bytes", r#"operator="totals",state="sum",worker="0""#, &stays(5e8)),
        series("tidemill_state_limit_bytes", "", &stays(1e9)),
        series("tidemill_checkpoint_interval_seconds", "", &one),
        series("tidemill_checkpoint_last_committed_timestamp_seconds", "", &clock(1)),
        series("tidemill_checkpoint_disk_free_bytes", "", &format!("1e12-1e6x{SAMPLES}")),
        series("tidemill_checkpoint_lost_files_total", "", &zero),
        series("tidemill_source_behind_watermark_records_total", SOURCE, &zero),
        series("tidemill_source_lost_files_total", SOURCE, &zero),
        series("tidemill_source_lag_records", SOURCE, &format!("50 80 20 60 40 50x{SAMPLES}")),
        series("tidemill_kafka_errors_total", SOURCE, &format!("0x30 2x{SAMPLES}")),
        series("tidemill_operator_late_records_total", KEYED, &grows(3.0)),
        series("tidemill_batches_total", MODEL, &grows(60.0)),
        series("tidemill_model_records_total", &and(MODEL, "origin", "model"), &grows(3000.0)),
        series("tidemill_model_records_total", &and(MODEL, "origin", "fallback"), &grows(1.0)),
        series("tidemill_model_records_total", &and(MODEL, "origin", "default"), &zero),
        series("tidemill_model_server_calls_total", MODEL, &grows(60.0)),
        series("tidemill_model_server_failures_total", MODEL, &zero),
        series("tidemill_model_server_circuit_open", MODEL, &zero),
        series("tidemill_rocksdb_background_errors_total", "worker=\"0\"", &zero),
        series("tidemill_rocksdb_writes_stopped", "worker=\"0\"", &zero),
    ];
    for state in ["starting", "restoring", "running", "stopping", "failed"] {
        let is = if state == "running" { &one } else { &zero };
        all.push(series("tidemill_job_state", &format!("state=\"{state}\""), is));
    }
    for (result, by) in [("committed", 30.0), ("failed", 0.0), ("fenced", 0.0)] {
        all.push(series("tidemill_checkpoints_total", &format!("result=\"{result}\""), &grows(by)));
    }
    for result in ["emitted", "refused"] {
        all.push(series("tidemill_reference_versions_total", &and(SOURCE, "result", result), &zero));
    }
    for (le, by) in [("0.05", 20.0), ("0.1", 30.0), ("1", 30.0), ("5", 30.0), ("+Inf", 30.0)] {
        all.push(series("tidemill_checkpoint_duration_seconds_bucket", &format!("le=\"{le}\""), &grows(by)));
        let labels = and(&and(MODEL, "stage", "inference"), "le", le);
        all.push(series("tidemill_latency_seconds_bucket", &labels, &grows(by)));
    }
    for operator in [SOURCE, KEYED, MODEL, SINK] {
        all.push(series("tidemill_operator_records_in_total", operator, &grows(3000.0)));
        all.push(series("tidemill_operator_dead_letters_total", operator, &zero));
        for (state, share) in [("busy", 0.3), ("idle", 0.6), ("backpressured", 0.1)] {
            let labels = and(operator, "state", state);
            all.push(series("tidemill_operator_time_seconds_total", &labels, &grows(share * INTERVAL as f64)));
        }
        if operator != MODEL {
            all.push(series("tidemill_watermark_timestamp_seconds", operator, &clock(2)));
        }
    }
    all
}
