//! What can be set about a job, as data and as a command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tidemill_state::{Changes, DEFAULT_KEY_GROUPS, Rename, RestoreFrom};

use crate::error::JobError;

/// The flags every job has. Flatten them into a program's own with `#[command(flatten)]`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Job")]
pub struct JobArgs {
    /// Worker threads of this process.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// All processes of the job, `host:port` each, in the same order everywhere.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,…")]
    pub hosts: Vec<String>,
    /// Which of the hosts this process is.
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    pub process: usize,
    /// How long this process waits for the others when the job starts.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub mesh_timeout: Duration,
    /// Where checkpoints are kept (shared by all processes). Without it nothing survives the job.
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,
    /// The checkpoint clock: how long an epoch is. From 20ms.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub checkpoint_interval: Duration,
    /// What to start from: auto (go on where the last run stopped), none, an epoch, or a manifest's path. Of several
    /// processes number 0 decides: the others may leave it out.
    #[arg(long, default_value = "auto", value_name = "auto|none|EPOCH|PATH")]
    pub restore: RestoreFrom,
    /// An operator, a source, a sink, or a state (operator/state) that is called OLD in the checkpoint and NEW in the
    /// program. May be given several times, and stay: once it is done it does nothing.
    #[arg(long, value_name = "OLD=NEW")]
    pub renamed: Vec<Rename>,
    /// What of the checkpoint the program has no more, and may be lost: all of an operator, a source or a sink, or one
    /// state. May be given several times; what is not there is an error.
    #[arg(long, value_name = "OPERATOR[/STATE]")]
    pub drop_state: Vec<String>,
    /// How many checkpoints are kept.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub retain_checkpoints: usize,
    /// Memory for keyed state, over all workers of this process, e.g. 512MiB. Beyond it RocksDB on disk
    /// takes over. Unlimited by default.
    #[arg(long, value_parser = parse_bytes, value_name = "BYTES")]
    pub state_memory: Option<u64>,
    /// Where RocksDB works when there is no checkpoint directory (default: a temporary folder).
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Records that may be under way in this process before sources wait.
    #[arg(long, default_value_t = 100_000, value_name = "RECORDS")]
    pub max_in_flight: usize,
    /// How far in event time a source may be ahead of the slowest one (watermark alignment). Without it
    /// sources that are ahead wait only while records, a tenth of --max-in-flight, wait for the watermark.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_drift: Option<Duration>,
    /// How far an event time may be ahead of the clock. What is further in the future is a dead letter and moves no watermark.
    /// Without it one event in the future makes all that follow late.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_ahead: Option<Duration>,
    /// Key groups: the unit of placement, fixed for the life of a job's checkpoints.
    #[arg(long, default_value_t = DEFAULT_KEY_GROUPS, value_name = "N")]
    pub key_groups: u16,
    /// Serve the page, /status and /metrics here, e.g. 127.0.0.1:9090.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
    /// error, warn, info, debug, trace, or a filter as in RUST_LOG.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}

impl Default for JobArgs {
    fn default() -> Self {
        Self {
            workers: 1,
            hosts: Vec::new(),
            process: 0,
            mesh_timeout: Duration::from_secs(300),
            checkpoint_dir: None,
            checkpoint_interval: Duration::from_secs(1),
            restore: RestoreFrom::Auto,
            renamed: Vec::new(),
            drop_state: Vec::new(),
            retain_checkpoints: 3,
            state_memory: None,
            state_dir: None,
            max_in_flight: 100_000,
            max_drift: None,
            max_ahead: None,
            key_groups: DEFAULT_KEY_GROUPS,
            http: None,
            log_level: "info".to_owned(),
        }
    }
}

impl JobArgs {
    const MIN_INTERVAL: Duration = Duration::from_millis(20);

    /// Names everything that cannot work, before anything is started.
    ///
    /// # Errors
    /// All faults at once.
    pub fn check(&self) -> Result<(), JobError> {
        let mut faults = Vec::new();
        if self.workers == 0 {
            faults.push("--workers is 0: a process needs at least one".to_owned());
        }
        if !self.hosts.is_empty() && self.process >= self.hosts.len() {
            let hosts = self.hosts.len();
            faults.push(format!("--process is {}, but --hosts names {hosts} (0 to {})", self.process, hosts - 1));
        }
        if self.hosts.is_empty() && self.process > 0 {
            faults.push(format!("--process is {} without --hosts", self.process));
        }
        if self.checkpoint_interval < Self::MIN_INTERVAL {
            faults.push(format!(
                "--checkpoint-interval is {}, the least is {}",
                humantime::format_duration(self.checkpoint_interval),
                humantime::format_duration(Self::MIN_INTERVAL)
            ));
        }
        if self.max_in_flight == 0 {
            faults.push("--max-in-flight is 0: no source could ever read".to_owned());
        }
        if usize::from(self.key_groups) < self.all_workers() {
            faults.push(format!(
                "--key-groups is {}, fewer than the {} workers: some would never get a key",
                self.key_groups,
                self.all_workers()
            ));
        }
        faults.extend(self.renamed.iter().filter_map(|rename| Some(format!("--renamed: {}", rename.check().err()?))));
        if self.retain_checkpoints == 0 {
            faults.push("--retain-checkpoints is 0: the newest one has to be kept".to_owned());
        }
        if faults.is_empty() { Ok(()) } else { Err(JobError::Invalid(faults.join("\n"))) }
    }

    pub(crate) fn changes(&self) -> Changes {
        Changes { renamed: self.renamed.clone(), dropped: self.drop_state.clone() }
    }

    /// Workers over all processes.
    #[must_use]
    pub fn all_workers(&self) -> usize {
        self.workers * self.hosts.len().max(1)
    }
}

/// `1024`, `64KiB`, `512MiB`, `2GiB`; also `K`, `M`, `G` for the same powers of 1024.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        other => return Err(format!("unknown unit \"{other}\": use KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a number of bytes"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("\"{text}\" is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("7"), Ok(7));
        assert!(parse_bytes("12 parsecs").is_err());
        assert!(parse_bytes("99999999999999999999").is_err());
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let args = JobArgs { workers: 0, process: 3, max_in_flight: 0, ..JobArgs::default() };
        let JobError::Invalid(text) = args.check().unwrap_err() else { panic!("not Invalid") };
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
