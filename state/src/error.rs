//! What can go wrong with state and checkpoints, sorted by what its user does about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::remedy::Remedy;

/// What the user does about an error. Every error of Tidemill's has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The program or its settings are wrong: fix the call.
    Invalid,
    /// Something outside is not there right now: try again.
    Unavailable,
    /// Stored data is damaged or does not fit: restore another checkpoint.
    Data,
    /// Another incarnation of the job has taken over: stop.
    Fenced,
    /// A bug of Tidemill's: report it.
    Internal,
}

/// An error of the state store or the checkpoint store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A call that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// What is set does not fit the checkpoint, or the program.
    #[error("{reason}")]
    Setting {
        /// What does not fit.
        reason: String,
        /// What can be set instead.
        remedies: Vec<Remedy>,
    },
    /// What cannot happen has happened.
    #[error("{0}: this is a bug in Tidemill, please report it")]
    Internal(String),
    /// A state was stored by a program that knew another version, type or kind of it.
    #[error(
        "state \"{state}\": the checkpoint has {found}, this program has {expected}; {advice}; or run the program that wrote it, or start over in an empty checkpoint directory"
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
        "state \"{state}\", key group {group}: a stored value cannot be decoded: {reason}; restore an earlier checkpoint"
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
    /// There are files of checkpoints, but no manifest that names them.
    #[error(
        "there is no manifest in \"{manifests}\", but \"{file}\" is of epoch {epoch}, before which others were committed; nothing was changed: bring the manifests back, or start over"
    )]
    NoManifest {
        /// Where the manifests should be.
        manifests: String,
        /// The newest of the files.
        file: String,
        /// The epoch that it is of.
        epoch: u64,
    },
    /// The place of the checkpoints is not what it was when the job began.
    #[error(
        "the checkpoint directory \"{}\" was removed, replaced or unmounted while the job ran, and nothing is written to what may be another place: bring it back and start the job again, which goes on from its newest checkpoint there; if it is lost, start over in an empty one", .path.display()
    )]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// Another run of the job has taken over.
    #[error(
        "\"{file}\" exists already: another run of this job, {by}, has taken over and goes on; this one stops. Was it started while this one was still running? Then stop one of them, or give each its own checkpoint directory: of two runs over one directory the one that started last goes on"
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
    #[cfg(feature = "rocksdb")]
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
        return "no checkpoint here is whole: bring the files back, or start over in an empty checkpoint directory"
            .to_owned();
    }
    let epochs: Vec<String> = whole.iter().map(u64::to_string).collect();
    format!("whole, and to be restored instead: {}", epochs.join(", "))
}

/// The same, as remedies.
pub(crate) fn instead(whole: &[u64]) -> Vec<Remedy> {
    if whole.is_empty() {
        return vec![Remedy::StartOver];
    }
    whole.iter().copied().map(Remedy::RestoreEpoch).collect()
}

impl StateError {
    /// What the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Setting { .. } | Self::Unwritable { .. } => ErrorKind::Invalid,
            Self::Mismatch { .. }
            | Self::Value { .. }
            | Self::Corrupt { .. }
            | Self::Incomplete { .. }
            | Self::NoManifest { .. } => ErrorKind::Data,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Internal(_) => ErrorKind::Internal,
            #[cfg(feature = "rocksdb")]
            Self::Rocks { source, .. } => match source.kind() {
                rocksdb::ErrorKind::Corruption => ErrorKind::Data,
                // It was called wrongly, and nobody but this crate calls it.
                rocksdb::ErrorKind::InvalidArgument => ErrorKind::Internal,
                _ => ErrorKind::Unavailable,
            },
            Self::Io { .. } | Self::Gone { .. } => ErrorKind::Unavailable,
        }
    }

    /// What can be done about it in the settings of the job: the first is the most likely.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Setting { remedies, .. } => remedies.clone(),
            Self::Value { .. } => vec![Remedy::RestoreEarlier],
            Self::Incomplete { others, .. } => instead(others),
            Self::NoManifest { .. } => vec![Remedy::RestoreNone],
            Self::Mismatch { .. } | Self::Gone { .. } => vec![Remedy::StartOver],
            Self::Fenced { .. } => vec![Remedy::Setting("checkpoint_dir")],
            Self::Invalid(_) | Self::Internal(_) | Self::Unwritable { .. } | Self::Corrupt { .. } | Self::Io { .. } => {
                Vec::new()
            }
            #[cfg(feature = "rocksdb")]
            Self::Rocks { .. } => Vec::new(),
        }
    }

    /// What is set does not fit, and these can be set instead.
    pub(crate) fn setting(reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Setting { reason: reason.into(), remedies: remedies.into() }
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

#[cfg(test)]
#[cfg(feature = "rocksdb")]
mod tests {
    use super::*;
    use crate::rows::db::Db;

    /// One of each variant after the other, with its kind: a new variant breaks the build here.
    fn after(error: Option<&StateError>) -> Option<(StateError, ErrorKind)> {
        let state = || "op/state".to_owned();
        let text = || "text".to_owned();
        let path = || PathBuf::from("a/path");
        Some(match error {
            None => (StateError::Invalid(text()), ErrorKind::Invalid),
            Some(StateError::Invalid(_)) => (StateError::setting(text(), [Remedy::Rename]), ErrorKind::Invalid),
            Some(StateError::Setting { .. }) => (StateError::Internal(text()), ErrorKind::Internal),
            Some(StateError::Internal(_)) => {
                let mismatch = StateError::Mismatch { state: state(), found: text(), expected: text(), advice: "" };
                (mismatch, ErrorKind::Data)
            }
            Some(StateError::Mismatch { .. }) => {
                (StateError::Value { state: state(), group: 1, reason: text() }, ErrorKind::Data)
            }
            Some(StateError::Value { .. }) => {
                (StateError::Unwritable { state: state(), group: 1, reason: text() }, ErrorKind::Invalid)
            }
            Some(StateError::Unwritable { .. }) => {
                (StateError::Corrupt { file: text(), reason: text() }, ErrorKind::Data)
            }
            Some(StateError::Corrupt { .. }) => {
                (StateError::Incomplete { epoch: 1, missing: vec![], others: vec![] }, ErrorKind::Data)
            }
            Some(StateError::Incomplete { .. }) => {
                (StateError::NoManifest { manifests: text(), file: text(), epoch: 9 }, ErrorKind::Data)
            }
            Some(StateError::NoManifest { .. }) => (StateError::Gone { path: path() }, ErrorKind::Unavailable),
            Some(StateError::Gone { .. }) => (StateError::Fenced { file: text(), by: text() }, ErrorKind::Fenced),
            Some(StateError::Fenced { .. }) => {
                (StateError::io("read", &path())(io::ErrorKind::NotFound.into()), ErrorKind::Unavailable)
            }
            Some(StateError::Io { .. }) => (damaged_rocks(), ErrorKind::Data),
            Some(StateError::Rocks { .. }) => return None,
        })
    }

    fn damaged_rocks() -> StateError {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("CURRENT"), b"cut").unwrap();
        Db::open(dir.path(), 0, true).err().unwrap()
    }

    #[test]
    fn each_error_says_what_its_user_does() {
        let (mut error, mut count) = (None, 0);
        while let Some((next, kind)) = after(error.as_ref()) {
            assert_eq!(next.kind(), kind, "{next:?}");
            assert!(!next.to_string().is_empty());
            assert!(!next.to_string().contains("--"), "a program has no flags: {next}");
            (error, count) = (Some(next), count + 1);
        }
        assert_eq!(count, 13);
        // A folder that cannot be made is RocksDB's trouble with what is outside.
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Db::open(&file.path().join("folder"), 0, true).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}
