//! What can go wrong with state and checkpoints, sorted by what its user does about it.

use std::io;
use std::path::{Path, PathBuf};

/// What the user does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The program or its settings are wrong: fix the call.
    Invalid,
    /// Something outside is not there right now: try again.
    Unavailable,
    /// Stored data is damaged or does not fit: restore another checkpoint.
    Data,
    /// Another incarnation of the job has taken over: stop.
    Fenced,
    /// A bug of the engine's: report it.
    Internal,
}

/// An error of the state store or the checkpoint store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A call that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// A state was stored by a program that knew another version, type or kind of it.
    #[error(
        "state \"{state}\": the checkpoint has {found}, this program has {expected}; {advice}; or run the program that wrote it, or start with --restore none in an empty checkpoint directory"
    )]
    Mismatch {
        /// `operator/state`.
        state: String,
        /// What is stored.
        found: String,
        /// What the program registers.
        expected: String,
        /// What can be done in the program.
        advice: &'static str,
    },
    /// A stored value cannot be decoded.
    #[error(
        "state \"{state}\", key group {group}: a stored value cannot be decoded: {reason}; restore an older checkpoint with --restore EPOCH"
    )]
    Value {
        /// `operator/state`.
        state: String,
        /// The key group it is in.
        group: u16,
        /// Why.
        reason: String,
    },
    /// An entry cannot be kept: it refuses to be serialised, or is too large.
    #[error("state \"{state}\", key group {group}: an entry cannot be written: {reason}")]
    Unwritable {
        /// `operator/state`.
        state: String,
        /// The key group it is in.
        group: u16,
        /// Why.
        reason: String,
    },
    /// A file of a checkpoint is damaged.
    #[error("checkpoint file \"{file}\" is damaged: {reason}")]
    Corrupt {
        /// Its name in the checkpoint store.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint is not whole: files of it are missing, cut or damaged.
    #[error("the checkpoint of epoch {epoch} is incomplete: {}; nothing was changed; {}", .missing.join("; "), advice(.others))]
    Incomplete {
        /// The epoch that was to be restored.
        epoch: u64,
        /// The files and what is wrong with each.
        missing: Vec<String>,
        /// The other epochs of the store whose files are all there and as they were written.
        others: Vec<u64>,
    },
    /// The place of the checkpoints is not what it was when the job began.
    #[error(
        "the checkpoint directory \"{}\" was removed, replaced or unmounted while the job ran, and nothing is written to what may be another place: bring it back and start the job again, which goes on from its newest checkpoint there; if it is lost, start with --restore none and an empty --checkpoint-dir", .path.display()
    )]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// Another run of the job has taken over.
    #[error(
        "\"{file}\" exists already: another run of this job, {by}, has taken over and goes on; this one stops. Was it started while this one was still running? Then stop one of them, or give each its own --checkpoint-dir: of two runs over one directory the one that started last goes on"
    )]
    Fenced {
        /// The manifest that was there first.
        file: String,
        /// What is known of that run.
        by: String,
    },
    /// The file system refused something.
    #[error("could not {what} \"{}\"", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// RocksDB refused something.
    #[error("RocksDB in \"{}\" could not {what}", .path.display())]
    Rocks {
        /// What was tried.
        what: &'static str,
        /// Its folder.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: rocksdb::Error,
    },
}

/// What can be restored instead.
pub(crate) fn advice(whole: &[u64]) -> String {
    if whole.is_empty() {
        return "no checkpoint here is whole: bring the files back, or start with --restore none and an empty --checkpoint-dir"
            .to_owned();
    }
    let epochs: Vec<String> = whole.iter().map(u64::to_string).collect();
    format!("whole, and to be restored with --restore EPOCH: {}", epochs.join(", "))
}

impl StateError {
    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Unwritable { .. } => ErrorKind::Invalid,
            Self::Mismatch { .. } | Self::Value { .. } | Self::Corrupt { .. } | Self::Incomplete { .. } => {
                ErrorKind::Data
            }
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Rocks { source, .. } if source.kind() == rocksdb::ErrorKind::Corruption => ErrorKind::Data,
            Self::Io { .. } | Self::Rocks { .. } | Self::Gone { .. } => ErrorKind::Unavailable,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Adds who was there first.
    pub(crate) fn by(self, describe: impl FnOnce(&str) -> String, name: &str) -> Self {
        match self {
            Self::Fenced { file, .. } => Self::Fenced { file, by: describe(name) },
            other => other,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
