//! The command line of `tidemill job`: a running job, and how it is asked.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

/// What to do with a running job.
#[derive(Subcommand)]
pub enum JobAction {
    /// Shows how a job is; ends with 1 if it has failed.
    Status {
        #[command(flatten)]
        at: At,
        /// Print one JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Shows the operators of a job, and the streams between them.
    Graph {
        #[command(flatten)]
        at: At,
        /// Print one JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Shows what the operators of a job do, again and again.
    Top(Top),
    /// Asks a job to stop, and waits until it has: it finishes the epoch and leaves a checkpoint.
    Stop {
        #[command(flatten)]
        at: At,
        /// Do not wait until the job has ended.
        #[arg(long)]
        no_wait: bool,
    },
    /// Asks a job for a checkpoint now, and waits until it is committed.
    Checkpoint {
        #[command(flatten)]
        at: At,
        /// Do not wait until the checkpoint is committed.
        #[arg(long)]
        no_wait: bool,
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Changes which model scores while the job runs, and waits until a checkpoint has the change.
    Change {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Lists the changes of operators, the newest first.
    Changes {
        #[command(flatten)]
        at: At,
        /// Print one JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Prints the last warnings and errors of a job's log.
    Log {
        #[command(flatten)]
        at: At,
        /// Go on with each line that comes, until the job ends.
        #[arg(long)]
        follow: bool,
        /// Print each line as a JSON object.
        #[arg(long)]
        jsonl: bool,
    },
}

/// A change of an operator.
#[derive(clap::Args)]
pub struct Wanted {
    /// The change: switch MODEL, canary MODEL SHARE, shadow MODEL, rollout MODEL, promote, roll-back, or JSON.
    #[arg(required = true, value_name = "CHANGE")]
    pub change: Vec<String>,
    /// The operator; may be left out if only one can be changed.
    #[arg(long, value_name = "NAME")]
    pub operator: Option<String>,
    /// Who asks for it.
    #[arg(long, default_value = "tidemill job change", value_name = "NAME")]
    pub by: String,
    /// The reason for it.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Identifier of the change: a second request with the same one changes nothing.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Do not wait until the change is decided.
    #[arg(long)]
    pub no_wait: bool,
}

/// What is shown of the operators, and how often.
#[derive(clap::Args)]
pub struct Top {
    #[command(flatten)]
    pub at: At,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = interval)]
    pub interval: Duration,
    /// Number of looks [default: until q or Ctrl-C].
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroU64>,
    /// What comes first.
    #[arg(long, value_enum, default_value = "graph")]
    pub sort: Sort,
    /// Print a JSON object a look instead of tables.
    #[arg(long)]
    pub jsonl: bool,
}

/// What comes first in `job top`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Sources first, as the graph has them.
    Graph,
    /// The busiest operator.
    Busy,
    /// The operator that reads most.
    In,
    /// The operator with the largest state.
    State,
}

/// A running job, and how it is asked.
#[derive(clap::Args)]
pub struct At {
    /// Address of the job's page: its --http.
    #[arg(long, value_name = "ADDRESS")]
    pub at: Address,
    #[command(flatten)]
    pub how: How,
}

/// How a running job is asked.
#[derive(clap::Args)]
pub struct How {
    /// File with the job's token; without one, TIDEMILL_HTTP_TOKEN has it.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Longest time that an answer may take.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = interval)]
    pub timeout: Duration,
}

/// Where a job answers: `http://HOST:PORT`, without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = match text.split_once("://") {
            Some(("http", host)) => host,
            Some(("https", _)) => return Err("a job has no TLS: give http://HOST:PORT".to_owned()),
            Some(_) => return Err("give HOST:PORT or http://HOST:PORT".to_owned()),
            None => text,
        };
        let host = host.trim_end_matches('/');
        let name = host.split('/').next().unwrap_or_default();
        let has_port =
            name.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
        if !has_port || name.contains(['@', '?', '#', ' ']) {
            return Err("give HOST:PORT, such as 127.0.0.1:9090".to_owned());
        }
        Ok(Self(format!("http://{host}")))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(100) { Err("the minimum is 100ms".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_with_or_without_http() {
        for (text, address) in [
            ("127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://localhost:1/", "http://localhost:1"),
            ("[::1]:80", "http://[::1]:80"),
            ("http://proxy:80/jobs/a/", "http://proxy:80/jobs/a"),
        ] {
            assert_eq!(text.parse(), Ok(Address(address.to_owned())));
        }
        for wrong in ["", "localhost", ":80", "a:b", "https://a:80", "ftp://a:80", "user@a:80", "a:99999"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
