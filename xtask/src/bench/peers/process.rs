//! Runs a program and accounts for all of its process: time, processor time, memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use wait4::{ResUse, Wait4};

/// How long a program may run.
const LIMIT: Duration = Duration::from_mins(10);
/// How often the memory of a running program is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What a run took.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Number of records, as the program says.
    pub records: f64,
    /// Seconds of the job, by the program's own clock.
    pub seconds: f64,
    /// Seconds that the second half of the records took, for programs that say so.
    pub second_half: Option<f64>,
    /// Seconds from the start of the process to its end.
    pub wall: f64,
    /// Seconds of processor time of the whole process.
    pub cpu: f64,
    /// The most memory that the process had at once, in MB.
    pub peak_mb: f64,
    /// Share of the machine's time that the hypervisor gave to others meanwhile.
    pub steal: f64,
}

/// Runs a command, whose output goes into `folder`. The last line of it is the program's report.
pub fn run(command: &mut Command, folder: &Path) -> Result<Taken> {
    let [stdout, stderr] = ["stdout.txt", "stderr.txt"].map(|name| folder.join(name));
    command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let (stolen, started) = (steal(), Instant::now());
    let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (ended, peak_kb) = wait(child)?;
    let wall = started.elapsed().as_secs_f64();
    if !ended.status.success() {
        let text = fs::read_to_string(&stderr).unwrap_or_default();
        bail!("{}: {}", ended.status, text.lines().last().unwrap_or("it printed no error"));
    }
    let text = fs::read_to_string(&stdout)?;
    let report = text.lines().last().context("the program printed no report")?;
    let report: Value = serde_json::from_str(report).with_context(|| format!("no report: {report}"))?;
    let number = |name: &str| report[name].as_f64().with_context(|| format!("the report has no {name}"));
    let (busy, all) = (steal().0 - stolen.0, steal().1 - stolen.1);
    Ok(Taken {
        records: number("records")?,
        seconds: number("seconds")?,
        second_half: report["second_half_seconds"].as_f64(),
        wall,
        cpu: (ended.rusage.utime + ended.rusage.stime).as_secs_f64(),
        peak_mb: peak_kb as f64 / 1024.0,
        steal: busy / all.max(1.0),
    })
}

/// Waits for the end of a process. Returns its resources and its peak memory in kB.
///
/// The peak is read from the running process, because the one that the system reports at its end includes this program,
/// which it was for a moment before it became the other.
#[expect(clippy::disallowed_methods, reason = "no worker waits here")]
fn wait(mut child: Child) -> Result<(ResUse, u64)> {
    let (started, mut peak) = (Instant::now(), 0);
    loop {
        if let Some(ended) = child.try_wait4()? {
            return Ok((ended, peak));
        }
        peak = peak.max(peak_kb(child.id()).unwrap_or(0));
        if started.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            bail!("it was stopped after {} s", LIMIT.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}

/// Returns the peak memory of a running process so far.
fn peak_kb(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Returns the time that was stolen from the machine, and all of its time, in ticks.
fn steal() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).take(8);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    (ticks.get(7).copied().unwrap_or(0.0), ticks.iter().sum())
}
