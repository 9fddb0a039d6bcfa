//! What Linux says of the process: the metrics that each of Prometheus' client libraries has.

use procfs::ProcResult;
use procfs::process::{LimitValue, Process};
use procfs::{boot_time_secs, page_size, ticks_per_second};

use crate::metrics::{Samples, list as families};

/// Adds what can be read; a process without `/proc` has no such samples.
pub(super) fn expose(samples: &mut Samples) {
    if let Err(error) = read(samples) {
        tracing::debug!(%error, "cannot read /proc");
    }
}

fn read(samples: &mut Samples) -> ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
    samples.add(&families::PROCESS_CPU, &[], seconds(stat.utime + stat.stime));
    samples.add(&families::PROCESS_START, &[], boot_time_secs()? as f64 + seconds(stat.starttime));
    samples.add(&families::PROCESS_RESIDENT, &[], (stat.rss * page_size()) as f64);
    samples.add(&families::PROCESS_VIRTUAL, &[], stat.vsize as f64);
    samples.add(&families::PROCESS_THREADS, &[], stat.num_threads as f64);
    samples.add(&families::PROCESS_OPEN_FILES, &[], process.fd_count()? as f64);
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        samples.add(&families::PROCESS_MAX_FILES, &[], most as f64);
    }
    Ok(())
}
