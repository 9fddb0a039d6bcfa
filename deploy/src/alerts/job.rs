//! Alerts of a job as a whole.

use super::alert::{Alert, Severity, named};
use super::series::{INFO, at, series};
use crate::span::{Span, Times};

pub(super) fn alerts(times: &Times) -> Vec<Alert> {
    vec![down(times), not_running(times), restarting(times)]
}

/// By the name of the job, so that a process that comes back at another address is no alert.
fn down(times: &Times) -> Alert {
    let day = times.hours(24);
    let mut alert = Alert::new(
        "TidemillJobDown",
        Severity::Page,
        "The job {{ $labels.job_name }} does not answer: none of its processes serves /metrics.",
        "",
        times.mins(1),
    );
    alert.expr = format!(
        "max by (job, job_name) (last_over_time(tidemill_job_info[{day}]))\n  unless\n\
         max by (job, job_name) (tidemill_job_info)"
    );
    alert.labels.retain(|(name, _)| *name != "instance");
    alert
        .fires("nothing is scraped from it any more", [series("tidemill_job_info", INFO, "1x120 stale _x120")])
        .quiet(
            "it has moved to another address",
            [
                series("tidemill_job_info", INFO, "1x120 stale _x120"),
                at("elsewhere:9090", "tidemill_job_info", INFO, "_x120 1x130"),
            ],
        )
        .quiet("it was restarted within half a minute", [series("tidemill_job_info", INFO, "1x120 stale 1x120")])
}

fn not_running(times: &Times) -> Alert {
    Alert::new(
        "TidemillJobNotRunning",
        Severity::Page,
        "{{ $labels.instance }} of the job {{ $labels.job_name }} answers, but the job does not run.",
        "max by (job, instance) (tidemill_job_state{state=\"running\"}) == 0",
        times.mins(10),
    )
    .fires(
        "it starts and does not get on, as when another process is missing",
        [
            series("tidemill_job_state", "state=\"running\"", "1x120 0x130"),
            series("tidemill_job_state", "state=\"starting\"", "0x120 1x130"),
        ],
    )
    .quiet(
        "it restores for five minutes, and then runs",
        [
            series("tidemill_job_state", "state=\"running\"", "1x200 0x10 1x40"),
            series("tidemill_job_state", "state=\"restoring\"", "0x200 1x10 0x40"),
        ],
    )
}

/// It fires also while the process is down between two starts.
fn restarting(times: &Times) -> Alert {
    let window = times.mins(15);
    let mut alert = Alert::new(
        "TidemillJobRestarting",
        Severity::Page,
        "{{ $labels.instance }} of the job {{ $labels.job_name }} is started again and again.",
        "",
        Span::ZERO,
    );
    let starts = format!("max by (job, instance) (changes(process_start_time_seconds[{window}])) > 2");
    alert.expr = named(&starts, &format!("last_over_time(tidemill_job_info[{window}])"));
    // Four scrapes of each run find it; then one, with two minutes before the next.
    let often: Vec<String> = (30..61).map(|run| format!("{}x3", run * 120)).collect();
    let often = format!("0x119 {}", often.join(" "));
    let down = |before: &str, runs: [&str; 6]| format!("{before} stale _x4 {} _x10", runs.join(" stale _x4 "));
    alert
        .fires("it is started every two minutes", [series("process_start_time_seconds", "", &often)])
        .fires(
            "it is down most of the time",
            [
                series("tidemill_job_info", INFO, &down("1x199", ["1"; 6])),
                series(
                    "process_start_time_seconds",
                    "",
                    &down("0x199", ["6000", "6180", "6360", "6540", "6720", "6900"]),
                ),
            ],
        )
        .quiet("a new version was deployed", [series("process_start_time_seconds", "", "0x219 6600x30")])
}
