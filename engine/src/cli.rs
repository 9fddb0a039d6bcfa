//! The command line of a job: its flags, its log, its signals, and how its process ends.
//!
//! Nothing else in the engine depends on it: a [`Job`](crate::Job) made from [`JobSettings`] installs neither a log
//! subscriber nor a signal handler. A job made from [`JobArgs`] installs both when it runs.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use tidemill_state::ErrorKind;

use crate::error::{JobError, Remedy};
use crate::run::{JobSettings, JobSetup};
#[cfg(feature = "http")]
use crate::warnings::Keeper;

/// The command-line flags of a job. Flatten them into a program's own flags with `#[command(flatten)]`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Job")]
pub struct JobArgs {
    /// The settings of the job: each has a flag of the same name.
    #[command(flatten)]
    pub settings: JobSettings,
    /// Log level: error, warn, info, debug, trace, or a filter as in RUST_LOG.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}

impl Default for JobArgs {
    fn default() -> Self {
        Self { settings: JobSettings::default(), log_level: "info".to_owned() }
    }
}

impl From<JobArgs> for JobSettings {
    fn from(args: JobArgs) -> Self {
        args.settings
    }
}

/// Prepares a process that was started from a command line: it logs to stderr, and SIGINT and SIGTERM stop the job
/// gracefully.
impl From<JobArgs> for JobSetup {
    fn from(args: JobArgs) -> Self {
        let log_level = args.log_level.clone();
        let prepare = move || {
            start_logging(&log_level)?;
            stop_on_signals()
        };
        Self::from(args.settings).prepared_by(prepare)
    }
}

fn start_logging(level: &str) -> Result<(), JobError> {
    use tracing_subscriber::EnvFilter;
    #[cfg(feature = "http")]
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    // ONNX Runtime logs far too much at `info`.
    let quiet = if level.contains("ort=") { level.to_owned() } else { format!("ort=warn,{level}") };
    let filter = EnvFilter::try_new(quiet).map_err(|e| {
        JobError::setting(
            format!("log_level \"{level}\" is not a level or filter: {e}"),
            [Remedy::Setting("log_level")],
        )
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).finish();
    // It fails when a subscriber exists, set by an earlier job of the process or by the program: then that one stays.
    #[cfg(feature = "http")]
    if subscriber.with(Keeper).try_init().is_ok() {
        Keeper::begin();
    }
    #[cfg(not(feature = "http"))]
    drop(subscriber.try_init());
    Ok(())
}

/// Installs handlers: the first SIGINT or SIGTERM asks the job to stop; the second one ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, JobError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signal_hook::consts::TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&stop)))
            .map_err(|source| JobError::Io { what: "listen for SIGINT and SIGTERM".to_owned(), source })?;
    }
    Ok(stop)
}

/// Returns the exit code for the result of a job. An error is printed with its causes, one per line, and with the
/// flags that may help (`hint: --restore 41`); the exit code says what to do about it.
///
/// | code | kind | |
/// |---|---|---|
/// | 0 | | input has ended, or the job was asked to stop |
/// | 1 | `Internal` | a bug: report it |
/// | 2 | `Invalid` | the program or its settings are wrong |
/// | 3 | `Unavailable` | something outside is not available: try again |
/// | 4 | `Data` | stored data is damaged or does not fit: restore another checkpoint |
/// | 5 | `Fenced` | another run of the job has taken over |
/// | 130 | | a second SIGINT or SIGTERM came before the job had stopped |
pub fn exit(result: Result<(), JobError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may be filtered or redirected; this is for the person who started the program.
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
        // A bug, or a kind that does not have a code yet.
        _ => 1,
    }
}

/// Returns the flags that may help, as they are typed.
fn hints(remedies: &[Remedy]) -> Vec<String> {
    // Of several checkpoints only the first is proposed: it is the newest, and loses least.
    let first = remedies.iter().position(|remedy| matches!(remedy, Remedy::RestoreEpoch(_)));
    let others = |at: usize, remedy: &Remedy| matches!(remedy, Remedy::RestoreEpoch(_)) && Some(at) != first;
    let said = remedies.iter().enumerate().filter(|(at, remedy)| !others(*at, remedy));
    said.filter_map(|(_, remedy)| hint(remedy)).collect()
}

/// Returns the flag for one remedy, if there is one.
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

/// Returns the flag of a setting.
fn flag(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}

/// Returns `name` quoted for a shell, where that is necessary.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_are_shown_as_flags() {
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
        assert_eq!(parsed, JobArgs::default());
    }
}
