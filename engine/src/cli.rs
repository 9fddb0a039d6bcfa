//! The command line of a job: its flags, its log, its signals, and how its process ends.
//!
//! Nothing else in the engine knows of it: a [`Job`](crate::Job) that is given [`JobSettings`] installs neither a subscriber
//! nor a signal handler. One that is given [`JobArgs`] does both when it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use tidemill_state::{DEFAULT_KEY_GROUPS, ErrorKind, Rename, RestoreFrom};

use crate::error::{JobError, Remedy};
use crate::run::{JobSettings, JobSetup};

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
        let JobSettings {
            workers,
            hosts,
            process,
            mesh_timeout,
            checkpoint_dir,
            checkpoint_interval,
            restore,
            renamed,
            drop_state,
            retain_checkpoints,
            state_memory,
            state_dir,
            max_in_flight,
            max_drift,
            max_ahead,
            key_groups,
            http,
        } = JobSettings::default();
        Self {
            workers,
            hosts,
            process,
            mesh_timeout,
            checkpoint_dir,
            checkpoint_interval,
            restore,
            renamed,
            drop_state,
            retain_checkpoints,
            state_memory,
            state_dir,
            max_in_flight,
            max_drift,
            max_ahead,
            key_groups,
            http,
            log_level: "info".to_owned(),
        }
    }
}

impl From<JobArgs> for JobSettings {
    fn from(args: JobArgs) -> Self {
        let JobArgs {
            workers,
            hosts,
            process,
            mesh_timeout,
            checkpoint_dir,
            checkpoint_interval,
            restore,
            renamed,
            drop_state,
            retain_checkpoints,
            state_memory,
            state_dir,
            max_in_flight,
            max_drift,
            max_ahead,
            key_groups,
            http,
            log_level: _,
        } = args;
        Self {
            workers,
            hosts,
            process,
            mesh_timeout,
            checkpoint_dir,
            checkpoint_interval,
            restore,
            renamed,
            drop_state,
            retain_checkpoints,
            state_memory,
            state_dir,
            max_in_flight,
            max_drift,
            max_ahead,
            key_groups,
            http,
        }
    }
}

/// What a program that is started from a command line does besides: it logs to stderr, and stops gracefully on SIGINT and SIGTERM.
impl From<JobArgs> for JobSetup {
    fn from(args: JobArgs) -> Self {
        let log_level = args.log_level.clone();
        let prepare = move || {
            start_logging(&log_level)?;
            stop_on_signals()
        };
        Self::from(JobSettings::from(args)).prepared_by(prepare)
    }
}

fn start_logging(level: &str) -> Result<(), JobError> {
    use tracing_subscriber::EnvFilter;
    // ONNX Runtime tells its whole life at `info`.
    let quiet = if level.contains("ort=") { level.to_owned() } else { format!("ort=warn,{level}") };
    let filter = EnvFilter::try_new(quiet)
        .map_err(|e| JobError::setting(format!("log_level \"{level}\" is no level or filter: {e}"), [Remedy::Setting("log_level")]))?;
    // A second job of the process, or a program with its own subscriber, keeps the one that is there.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
    Ok(())
}

/// The first SIGINT or SIGTERM asks the job to stop; the second one ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, JobError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signal_hook::consts::TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&stop)))
            .map_err(|source| JobError::Io { what: "listen for SIGINT and SIGTERM".to_owned(), source })?;
    }
    Ok(stop)
}

/// How a program ends: an error is printed with its causes, one a line, and with the flags that may help (`hint: --restore 41`);
/// the exit code says what to do about it.
///
/// | code | kind | |
/// |---|---|---|
/// | 0 | | input has ended, or the job was asked to stop |
/// | 1 | `Internal` | a bug: report it |
/// | 2 | `Invalid` | the program or its settings are wrong |
/// | 3 | `Unavailable` | something outside is not there: try again |
/// | 4 | `Data` | stored data is damaged or does not fit: restore another checkpoint |
/// | 5 | `Fenced` | another run of the job has taken over |
/// | 130 | | a second SIGINT or SIGTERM came before the job had stopped |
pub fn exit(result: Result<(), JobError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A log may be filtered or redirected; this is for who started the program.
            eprintln!("error: {}", error.report());
            hints(&error.remedies()).iter().for_each(|hint| eprintln!("hint: {hint}"));
            ExitCode::from(code(error.kind()))
        }
    }
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::Unavailable => 3,
        ErrorKind::Data => 4,
        ErrorKind::Fenced => 5,
        // A bug, or a kind that has no code yet.
        _ => 1,
    }
}

/// What may help, as it is typed.
fn hints(remedies: &[Remedy]) -> Vec<String> {
    // The newest one of several checkpoints is listed first, and loses least.
    let first = remedies.iter().position(|remedy| matches!(remedy, Remedy::RestoreEpoch(_)));
    let others = |at: usize, remedy: &Remedy| matches!(remedy, Remedy::RestoreEpoch(_)) && Some(at) != first;
    let said = remedies.iter().enumerate().filter(|(at, remedy)| !others(*at, remedy));
    said.filter_map(|(_, remedy)| hint(remedy)).collect()
}

/// One of them; none where there is no flag for it.
fn hint(remedy: &Remedy) -> Option<String> {
    Some(match remedy {
        Remedy::RestoreEpoch(epoch) => format!("--restore {epoch}"),
        Remedy::RestoreEarlier => "--restore EPOCH (an earlier one)".to_owned(),
        Remedy::RestoreNewest => "--restore auto".to_owned(),
        Remedy::RestoreNone => "--restore none".to_owned(),
        Remedy::StartOver => "--restore none --checkpoint-dir DIR (an empty one)".to_owned(),
        Remedy::Rename => "--renamed OLD=NEW".to_owned(),
        Remedy::DropState(name) => format!("--drop-state {}", quoted(name)),
        Remedy::KeepState(name) => format!("without --drop-state {}", quoted(name)),
        Remedy::KeyGroups(groups) => format!("--key-groups {groups}"),
        Remedy::Setting(field) => flag(field),
        _ => return None,
    })
}

/// The flag of a setting.
fn flag(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}

/// As a shell wants it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
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
    fn what_can_be_done_is_said_as_it_is_typed() {
        let remedies = [
            Remedy::Rename,
            Remedy::DropState("sums/by hour".to_owned()),
            Remedy::RestoreEpoch(41),
            Remedy::RestoreEpoch(7),
            Remedy::Setting("checkpoint_dir"),
        ];
        let said = ["--renamed OLD=NEW", "--drop-state 'sums/by hour'", "--restore 41", "--checkpoint-dir"];
        assert_eq!(hints(&remedies), said);
        assert!(hints(&[]).is_empty());
    }

    #[test]
    fn each_setting_has_its_flag() {
        let program = <Program as clap::CommandFactory>::command();
        let there = |field: &str| program.get_arguments().any(|arg| Some(flag(field)) == arg.get_long().map(flag));
        let settings = serde_json::to_value(JobSettings::default()).unwrap();
        for field in settings.as_object().unwrap().keys().map(String::as_str).chain(["log_level"]) {
            assert!(there(field), "{field}");
        }
        assert!(!there("no_such_setting"));
    }

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        job: JobArgs,
    }

    #[test]
    fn a_command_line_without_flags_is_the_default() {
        let parsed = <Program as clap::Parser>::parse_from(["program"]).job;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", JobArgs::default()));
        assert_eq!(JobSettings::from(parsed), JobSettings::default());
    }
}
