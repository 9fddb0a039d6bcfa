//! The command line. `docs/operate/command.md` is held against it by a test.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Looks at the checkpoints of a job. Nothing but `prune --yes` changes anything, and a running job does not notice.
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
    /// The rows of states, as JSON, without the job's program.
    State {
        /// What to do.
        #[command(subcommand)]
        action: StateAction,
    },
}

/// What to do with states.
#[derive(Subcommand)]
pub enum StateAction {
    /// Prints the rows of a state, one JSON object a line.
    Dump {
        /// Name of the state, as `checkpoints show` has it: `OPERATOR/STATE`.
        state: String,
        /// Epoch of the checkpoint: a number, `latest`, or `latest~N`.
        #[arg(long, default_value = "latest")]
        epoch: Epoch,
        /// Largest number of rows that are printed.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Print only the number of rows.
        #[arg(long)]
        count: bool,
        /// The job's checkpoint directory.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
    },
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

/// The flags of every action.
#[derive(clap::Args)]
pub struct Common {
    /// The job's checkpoint directory.
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// An epoch as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    Number(u64),
    /// So many checkpoints before the newest.
    BeforeLatest(usize),
}

impl std::str::FromStr for Epoch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let before = text.strip_prefix("latest").map(|rest| match rest {
            "" => Some(0),
            _ => rest.strip_prefix('~').and_then(|number| number.parse().ok()),
        });
        let named = before.map_or_else(|| text.parse().ok().map(Self::Number), |before| before.map(Self::BeforeLatest));
        named.ok_or_else(|| "give a number, \"latest\", or \"latest~N\"".to_owned())
    }
}
