//! Alerts of checkpoints. Nothing is published that is not in one.
//!
//! There is none on checkpoints that failed: such a checkpoint ends the job, most often before the next scrape. The
//! alerts of the job find it.

use super::alert::{Alert, PROCESS, Severity};
use super::series::series;
use crate::promql::grew;
use crate::span::{Span, Times};

pub(super) fn alerts(times: &Times) -> Vec<Alert> {
    vec![stopped(times), slow(times), files_lost(times), disk_filling(times)]
}

/// A job that has committed nothing since its start has no time of a last commit.
fn stopped(times: &Times) -> Alert {
    let least = times.mins(1).seconds();
    let committed = "tidemill_checkpoint_last_committed_timestamp_seconds";
    Alert::new(
        "TidemillCheckpointsStopped",
        Severity::Page,
        "{{ $labels.job_name }} ({{ $labels.instance }}) runs and commits nothing: no results are published.",
        &format!(
            "time() - ({committed} or on (job, instance) process_start_time_seconds)\n  > on (job, instance)\n\
             clamp_min(10 * tidemill_checkpoint_interval_seconds, {least})\n  and on (job, instance)\n\
             tidemill_job_state{{state=\"running\"}} == 1"
        ),
        times.mins(1),
    )
    .fires("the last commit is an hour old", [series(committed, "", "-1+30x120 3599x130")])
    .fires("nothing was committed since the start", [series(committed, "", "_x250")])
    .quiet(
        "the job stops, and takes its time",
        [
            series(committed, "", "-1+30x120 3599x130"),
            series("tidemill_job_state", "state=\"running\"", "1x120 0x130"),
            series("tidemill_job_state", "state=\"stopping\"", "0x120 1x130"),
        ],
    )
    .quiet(
        "its interval is ten minutes",
        [
            series("tidemill_checkpoint_interval_seconds", "", "600x250"),
            series(
                committed,
                "",
                "0x19 600x19 1200x19 1800x19 2400x19 3000x19 3600x19 4200x19 4800x19 5400x19 6000x19 6600x30",
            ),
        ],
    )
}

fn slow(times: &Times) -> Alert {
    let window = times.mins(5);
    Alert::new(
        "TidemillCheckpointSlow",
        Severity::Ticket,
        "Commits of {{ $labels.job_name }} ({{ $labels.instance }}) take longer than its checkpoint_interval.",
        &format!(
            "histogram_quantile(0.99,\n  sum by (job, instance, le) (rate(tidemill_checkpoint_duration_seconds_bucket\
             [{window}])))\n  > on (job, instance)\ntidemill_checkpoint_interval_seconds"
        ),
        times.mins(10),
    )
    .fires(
        "all take a second to five",
        [0.05, 0.1, 1.0].map(|le| {
            series("tidemill_checkpoint_duration_seconds_bucket", &format!("le=\"{le}\""), "0+30x120 3600x130")
        }),
    )
    .quiet(
        "they are as slow, and the interval is ten seconds",
        [
            series("tidemill_checkpoint_duration_seconds_bucket", "le=\"0.05\"", "0x250"),
            series("tidemill_checkpoint_duration_seconds_bucket", "le=\"0.1\"", "0x250"),
            series("tidemill_checkpoint_duration_seconds_bucket", "le=\"1\"", "0x250"),
            series("tidemill_checkpoint_interval_seconds", "", "10x250"),
        ],
    )
}

fn files_lost(times: &Times) -> Alert {
    Alert::new(
        "TidemillCheckpointFilesLost",
        Severity::Page,
        "Somebody removes or cuts files of the checkpoints of {{ $labels.job_name }} ({{ $labels.instance }}).",
        &grew(PROCESS, "tidemill_checkpoint_lost_files_total", times.hours(1)),
        Span::ZERO,
    )
    .fires("three are lost", [series("tidemill_checkpoint_lost_files_total", "", "0x180 3x70")])
    .fires(
        "three were lost before the first scrape of a process",
        [
            series("tidemill_checkpoint_lost_files_total", "", "_x200 3x50"),
            series("process_start_time_seconds", "", "_x200 5990x50"),
        ],
    )
    .quiet(
        "three were lost long ago, and Prometheus was down since",
        [series("tidemill_checkpoint_lost_files_total", "", "_x200 3x50")],
    )
}

fn disk_filling(times: &Times) -> Alert {
    let (window, ahead) = (times.hours(1), times.hours(4).seconds());
    Alert::new(
        "TidemillCheckpointDiskFilling",
        Severity::Page,
        "The disk with the checkpoints of {{ $labels.job_name }} ({{ $labels.instance }}) is full within four hours.",
        &format!("min by (job, instance) (predict_linear(tidemill_checkpoint_disk_free_bytes[{window}], {ahead})) < 0"),
        times.mins(10),
    )
    .fires("it loses 10 GB a minute", [series("tidemill_checkpoint_disk_free_bytes", "", "1e12x120 1e12-5e9x130")])
    .quiet(
        "it loses 1 GB a minute, and has a terabyte",
        [series("tidemill_checkpoint_disk_free_bytes", "", "1e12x120 1e12-5e8x130")],
    )
}
