//! The command line of `tidemill savepoint`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;
use tidemill_state::{ClaimMode, SavepointName};

use super::common::{Common, Epoch};
use super::job::{Address, How};

/// What to do with savepoints.
#[derive(Subcommand)]
pub enum SavepointAction {
    /// Takes a savepoint: of a checkpoint, or of the next one of a running job.
    Take(Take),
    /// Lists the savepoints of a job.
    List(Common),
    /// Copies a savepoint to another place, byte by byte.
    Copy {
        /// The savepoint: its name, or its path.
        source: PathBuf,
        /// The new savepoint: a name, or a path where nothing is.
        target: PathBuf,
        /// The job's checkpoint directory, which names are in; not needed for paths.
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
    },
    /// Deletes a savepoint.
    Delete {
        /// Name of the savepoint.
        name: SavepointName,
        /// Delete; without this flag it is only said what would be deleted.
        #[arg(long)]
        yes: bool,
        /// The job's checkpoint directory.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
    },
    /// Starts a job's program from a savepoint.
    Restore {
        /// The savepoint: its name, or its path.
        savepoint: PathBuf,
        /// Whose the savepoint is: no-claim (yours, it stays) or claim (the job's, which deletes it).
        #[arg(long, default_value_t, value_name = "no-claim|claim")]
        claim_mode: ClaimMode,
        /// The job's checkpoint directory; it may be new.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// The job's program and its arguments; the flags that restore the savepoint are added.
        #[arg(last = true, required = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
}

/// What a savepoint is taken of.
#[derive(clap::Args)]
pub struct Take {
    /// Name of the savepoint [default: epoch-N].
    pub name: Option<SavepointName>,
    /// Epoch of the checkpoint: a number, `latest`, or `latest~N`.
    #[arg(long, default_value = "latest", conflicts_with = "job")]
    pub epoch: Epoch,
    /// The job's checkpoint directory.
    #[arg(long, value_name = "DIR", required_unless_present = "job", conflicts_with = "job")]
    pub store: Option<PathBuf>,
    /// Address of the running job, its --http: it makes a checkpoint for the savepoint, and takes it itself.
    #[arg(long, value_name = "ADDRESS")]
    pub job: Option<Address>,
    #[command(flatten)]
    pub how: How,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}
