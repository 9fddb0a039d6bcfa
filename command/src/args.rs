//! The command line. `docs/operate/command.md` is held against it by a test.

mod common;
pub mod job;
pub mod parity;
pub mod savepoint;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::common::{Common, Epoch};
use self::job::JobAction;
use self::parity::ParityArgs;
use self::savepoint::SavepointAction;

/// Looks at the checkpoints of a job, which does not notice, takes savepoints of them, and asks a running job how it is,
/// or to do something. Compares served features with recomputed ones. Only with `--yes` is anything deleted.
#[derive(Parser)]
#[command(name = "tidemill", version)]
pub struct Args {
    /// What to look at.
    #[command(subcommand)]
    pub topic: Topic,
}

/// What to look at.
#[derive(Subcommand)]
pub enum Topic {
    /// The checkpoints in a job's checkpoint directory.
    Checkpoints {
        /// What to do.
        #[command(subcommand)]
        action: Action,
    },
    /// Savepoints: named copies of checkpoints that stand alone and are never pruned.
    Savepoint {
        /// What to do.
        #[command(subcommand)]
        action: SavepointAction,
    },
    /// A running job, which is asked over HTTP.
    Job {
        /// What to do.
        #[command(subcommand)]
        action: JobAction,
    },
    /// The states of a checkpoint and their rows, without the job's program.
    State {
        /// What to do.
        #[command(subcommand)]
        action: StateAction,
    },
    /// Compares features as they were served with the same ones recomputed from history; ends with 1 if they differ.
    Parity(ParityArgs),
    /// Prints the completions of this command for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What to do with states.
#[derive(Subcommand)]
pub enum StateAction {
    /// Lists the states of a checkpoint.
    List {
        /// Epoch of the checkpoint: a number, `latest`, or `latest~N`.
        #[arg(long, default_value = "latest")]
        epoch: Epoch,
        /// Count the rows of each state, and their bytes, key groups and workers.
        #[arg(long)]
        count: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Prints the rows of a state.
    Dump(Dump),
}

/// Which rows of a state are printed, and how.
#[derive(clap::Args)]
pub struct Dump {
    /// Name of the state, as `state list` has it: `OPERATOR/STATE`.
    pub state: String,
    /// Epoch of the checkpoint: a number, `latest`, or `latest~N`.
    #[arg(long, default_value = "latest")]
    pub epoch: Epoch,
    /// Only the rows of this key, written as the output has it.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only the rows of keys that begin so.
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    pub prefix: Option<String>,
    /// Largest number of rows that are printed.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print only the number of rows.
    #[arg(long)]
    pub count: bool,
    /// Format of the rows.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: Format,
    /// The job's checkpoint directory.
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
}

/// A format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON object on each line.
    Jsonl,
    /// Comma-separated values, with a head.
    Csv,
    /// Apache Parquet.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// What to do with checkpoints.
#[derive(Subcommand)]
pub enum Action {
    /// Lists the checkpoints and the claims of starts.
    List(Common),
    /// Shows a checkpoint: its states, and the files of each worker.
    Show {
        /// Epoch of the checkpoint: a number, `latest`, or `latest~N` for the N-th before it.
        #[arg(default_value = "latest")]
        epoch: Epoch,
        #[command(flatten)]
        common: Common,
    },
    /// Reads every byte of every file and compares it with the manifests; ends with 4 if anything is damaged or missing.
    Verify {
        /// Epoch of the only checkpoint to verify: a number, `latest`, or `latest~N`.
        epoch: Option<Epoch>,
        #[command(flatten)]
        common: Common,
    },
    /// Compares the rows of two checkpoints, state by state.
    Diff {
        /// Epoch of the first checkpoint: a number, `latest`, or `latest~N`.
        before: Epoch,
        /// Epoch of the second checkpoint.
        #[arg(default_value = "latest")]
        after: Epoch,
        #[command(flatten)]
        common: Common,
    },
    /// Deletes old checkpoints of a stopped job, and the files that only they need.
    Prune {
        /// Number of checkpoints to keep: the newest ones.
        #[arg(long, value_name = "N")]
        keep: NonZeroUsize,
        /// Delete; without this flag it is only said what would be deleted.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        common: Common,
    },
}
