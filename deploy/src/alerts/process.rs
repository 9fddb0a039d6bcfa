//! Alerts of a process and of its RocksDB.

use super::alert::{Alert, PROCESS, Severity};
use super::series::series;
use crate::promql::grew;
use crate::span::{Span, Times};

pub(super) fn alerts(times: &Times) -> Vec<Alert> {
    vec![rocksdb_errors(times), rocksdb_stopped(times), open_files(times)]
}

fn rocksdb_errors(times: &Times) -> Alert {
    let counter = "tidemill_rocksdb_background_errors_total";
    Alert::new(
        "TidemillRocksDbErrors",
        Severity::Page,
        "RocksDB cannot write its files for {{ $labels.job_name }} ({{ $labels.instance }}).",
        &grew(PROCESS, counter, times.hours(1)),
        Span::ZERO,
    )
    .fires("a flush failed", [series(counter, "worker=\"0\"", "0x200 1x50")])
}

fn rocksdb_stopped(times: &Times) -> Alert {
    let (gauge, window) = ("tidemill_rocksdb_writes_stopped", times.mins(5));
    Alert::new(
        "TidemillRocksDbWritesStopped",
        Severity::Ticket,
        "RocksDB of {{ $labels.job_name }} ({{ $labels.instance }}) takes no writes for a tenth of the time or more.",
        &format!("max by (job, instance) (avg_over_time({gauge}[{window}])) > 0.1"),
        times.mins(5),
    )
    .fires("every other scrape sees it", [series(gauge, "worker=\"0\"", &format!("0x120{}", " 1 0".repeat(65)))])
    .quiet("it was so once", [series(gauge, "worker=\"0\"", "0x234 1 0x20")])
}

fn open_files(times: &Times) -> Alert {
    Alert::new(
        "TidemillOpenFilesNearLimit",
        Severity::Ticket,
        "{{ $labels.job_name }} ({{ $labels.instance }}) has opened 90 % of the files that it may open.",
        "max by (job, instance) (process_open_fds)\n  > on (job, instance)\n0.9 * process_max_fds",
        times.mins(5),
    )
    .fires("it has 1000 of 1024", [series("process_open_fds", "", "80x120 1000x130")])
}
