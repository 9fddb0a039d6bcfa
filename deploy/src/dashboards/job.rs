//! The dashboard to look at first: is the job well, and where is it slow?

use super::dashboard::{Dashboard, Section};
use super::panel::{Panel, Unit};
use crate::promql;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "tidemill-job",
        title: "Tidemill / Job",
        description: "Is the job well, does it keep up, and which operator is slow?",
        sections: vec![now(), throughput(), time(), flow(), checkpoints(), state()],
    }
}

fn now() -> Section {
    let alerts = Panel::table("Alerts that fire").note(
        "What each means and what to do is on the page of alerts. Empty: none fires, or the rules are not loaded.",
    );
    let panels = vec![
        Panel::number("Processes that run", Unit::Count, None)
            .query("sum(tidemill_job_state{$S,state=\"running\"})", "running"),
        Panel::number("Records read", Unit::RecordsPerSecond, None)
            .query("sum(rate(tidemill_operator_records_in_total{$S,kind=\"source\"}[$__rate_interval]))", "read"),
        Panel::number("Behind the clock", Unit::Seconds, Some(300.0))
            .query("time() - min(tidemill_watermark_timestamp_seconds{$S,kind=\"source\"})", "slowest source"),
        Panel::number("Last commit", Unit::Seconds, Some(60.0))
            .query("time() - min(tidemill_checkpoint_last_committed_timestamp_seconds{$S})", "ago"),
        Panel::number("Dead letters in an hour", Unit::Count, Some(1.0))
            .query("sum(increase(tidemill_operator_dead_letters_total{$S}[1h]))", "dead letters"),
        Panel::number("Epoch", Unit::Count, None).query("max(tidemill_committed_epoch{$S})", "committed"),
        alerts.query("ALERTS{alertname=~\"Tidemill.*\",alertstate=\"firing\",job_name=~\"$job_name\"}", ""),
    ];
    Section { title: "Now", panels }
}

fn throughput() -> Section {
    let rate = |metric: &str, rest: &str| format!("sum by (operator) (rate({metric}{{$S{rest}}}[$__rate_interval]))");
    let records = "tidemill_operator_records_in_total";
    let panels = vec![
        Panel::lines("Records read by each source", Unit::RecordsPerSecond)
            .query(&rate(records, ",kind=\"source\""), "{{operator}}"),
        Panel::lines("Records given to each sink", Unit::RecordsPerSecond)
            .query(&rate(records, ",kind=\"sink\""), "{{operator}}"),
        Panel::lines("Records into each operator", Unit::RecordsPerSecond)
            .query(&rate(records, ",kind!~\"source|sink\""), "{{operator}}"),
        Panel::lines("Dead letters by reason", Unit::PerSecond)
            .query(
                "sum by (operator, reason) (rate(tidemill_dead_letters_total{$S}[$__rate_interval]))",
                "{{operator}}: {{reason}}",
            )
            .note("No line: there were none since the start."),
    ];
    Section { title: "Throughput", panels }
}

fn time() -> Section {
    let gap = "time() - min by (operator) (tidemill_watermark_timestamp_seconds{$S})";
    let latency = |title, stage: &str| {
        Panel::lines(title, Unit::Seconds)
            .query(&promql::latency("0.5", stage), "p50 {{operator}}")
            .query(&promql::latency("0.99", stage), "p99 {{operator}}")
    };
    let panels = vec![
        Panel::lines("Watermark behind the clock", Unit::Seconds)
            .query(gap, "{{operator}}")
            .note("A line that climbs as fast as the clock is a watermark that stands still."),
        Panel::lines("Late records", Unit::RecordsPerSecond)
            .query(
                "sum by (operator) (rate(tidemill_operator_late_records_total{$S}[$__rate_interval]))",
                "{{operator}}",
            )
            .query(
                "sum by (operator) (rate(tidemill_source_behind_watermark_records_total{$S}[$__rate_interval]))",
                "{{operator}}, behind its own watermark",
            ),
        latency("Latency up to each sink", "sink"),
        latency("Latency until it is published", "total"),
    ];
    Section { title: "Event time and latency", panels }
}

fn flow() -> Section {
    let share = |state: &str| {
        format!(
            "max by (operator) (rate(tidemill_operator_time_seconds_total{{$S,state=\"{state}\"}}[$__rate_interval]))"
        )
    };
    let panels = vec![
        Panel::lines("Busy", Unit::Share).query(&share("busy"), "{{operator}}").note(
            "The busiest worker of each operator. While sources are held back, the busiest operator is the bottleneck.",
        ),
        Panel::lines("Held back", Unit::Share)
            .query(&share("backpressured"), "{{operator}}")
            .note("Only sources can be held back. High is above 50 %."),
        Panel::lines("Records in flight", Unit::Count)
            .query("sum by (instance) (tidemill_in_flight_records{$S})", "{{instance}}")
            .query("max(tidemill_in_flight_limit_records{$S})", "limit of a process"),
        Panel::lines("Records that wait for the watermark", Unit::Count)
            .query("sum by (instance) (tidemill_pending_records{$S})", "{{instance}}"),
        Panel::lines("Records that wait at each operator", Unit::Count)
            .query("sum by (operator) (tidemill_operator_queue_records{$S})", "{{operator}}"),
    ];
    Section { title: "Flow", panels }
}

fn checkpoints() -> Section {
    let quantile = |q: &str| {
        format!(
            "histogram_quantile({q}, sum by (le) (rate(tidemill_checkpoint_duration_seconds_bucket{{$S}}[$__rate_interval])))"
        )
    };
    let panels = vec![
        Panel::lines("Duration", Unit::Seconds)
            .query(&quantile("0.5"), "p50")
            .query(&quantile("0.99"), "p99")
            .query("max(tidemill_checkpoint_interval_seconds{$S})", "checkpoint_interval"),
        Panel::lines("Age of the last commit", Unit::Seconds).query(
            "time() - max by (instance) (tidemill_checkpoint_last_committed_timestamp_seconds{$S})",
            "{{instance}}",
        ),
        Panel::lines("Checkpoints", Unit::PerSecond)
            .query("sum by (result) (rate(tidemill_checkpoints_total{$S}[$__rate_interval]))", "{{result}}"),
        Panel::lines("Epochs that are not committed", Unit::Count)
            .query("max by (instance) (tidemill_checkpoints_in_progress{$S})", "{{instance}}"),
        Panel::lines("Bytes written", Unit::BytesPerSecond).query(
            "sum by (instance) (rate(tidemill_checkpoint_delta_bytes_total{$S}[$__rate_interval]))",
            "{{instance}}",
        ),
        Panel::lines("Room on the disk", Unit::Bytes)
            .query("min by (instance) (tidemill_checkpoint_disk_free_bytes{$S})", "{{instance}}"),
    ];
    Section { title: "Checkpoints", panels }
}

fn state() -> Section {
    let panels = vec![
        Panel::stack("Keyed state in memory", Unit::Bytes)
            .query("sum by (operator, state) (tidemill_state_bytes{$S})", "{{operator}}/{{state}}"),
        Panel::lines("Keyed state of each worker", Unit::Bytes)
            .query("sum by (worker) (tidemill_state_bytes{$S})", "worker {{worker}}")
            .query("min(tidemill_state_limit_bytes{$S})", "limit of a process")
            .note("Workers that differ much: some keys have far more state than others."),
    ];
    Section { title: "State", panels }
}
