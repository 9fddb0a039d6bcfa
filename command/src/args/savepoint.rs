//! The command line of `tidemill savepoint`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;
use tidemill_state::{ClaimMode, SavepointName};

use super::common::{Common, Epoch};

/// What to do with savepoints.
#[derive(Subcommand)]
pub enum SavepointAction {
    /// Takes a savepoint of a checkpoint, also while the job runs.
    Take {
        /// Name of the savepoint [default: epoch-N].
        name: Option<SavepointName>,
        /// Epoch of the checkpoint: a number, `latest`, or `latest~N`.
        #[arg(long, default_value = "latest")]
        epoch: Epoch,
        #[command(flatten)]
        common: Common,
    },
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
