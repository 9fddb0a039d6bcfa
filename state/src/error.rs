//! The errors of state and checkpoints, sorted by what the user does about them.

use std::io;
use std::path::{Path, PathBuf};

use crate::remedy::Remedy;

/// The kind of an error: what the user does about it. Every error of Tidemill has a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The program or its settings are wrong: fix the call or the setting.
    Invalid,
    /// Something outside the job is not available right now: try again.
    Unavailable,
    /// Stored data is damaged or does not fit the program: restore another checkpoint.
    Data,
    /// Another incarnation of the job has taken over: stop.
    Fenced,
    /// A bug in Tidemill: report it.
    Internal,
}

/// An error of the state store or the checkpoint store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A call that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// A setting that does not fit the checkpoint or the program.
    #[error("{reason}")]
    Setting {
        /// What does not fit.
        reason: String,
        /// The settings that can be used instead.
        remedies: Vec<Remedy>,
    },
    /// A bug in Tidemill: something happened that its code rules out.
    #[error("{0}: this is a bug in Tidemill, please report it")]
    Internal(String),
    /// A state was stored with another version, type, kind or parameters than this program has for it.
    #[error(
        "state \"{state}\": the checkpoint has {found}, this program has {expected}; {advice}; or run the program that wrote it, or start over in an empty checkpoint directory"
    )]
    Mismatch {
        /// Name of the state, as `operator/state`.
        state: String,
        /// Description of the stored state.
        found: String,
        /// Description of the state that the program registers.
        expected: String,
        /// What can be changed in the program.
        advice: &'static str,
    },
    /// A stored value cannot be decoded.
    #[error(
        "state \"{state}\", key group {group}: a stored value cannot be decoded: {reason}; restore an earlier checkpoint"
    )]
    Value {
        /// Name of the state, as `operator/state`.
        state: String,
        /// Key group of the value.
        group: u16,
        /// Why the value cannot be decoded.
        reason: String,
    },
    /// An entry cannot be stored: it refuses to be serialised, or is too large.
    #[error("state \"{state}\", key group {group}: an entry cannot be written: {reason}")]
    Unwritable {
        /// Name of the state, as `operator/state`.
        state: String,
        /// Key group of the entry.
        group: u16,
        /// Why the entry cannot be written.
        reason: String,
    },
    /// A file of a checkpoint is damaged.
    #[error("checkpoint file \"{file}\" is damaged: {reason}")]
    Corrupt {
        /// Name of the file in the checkpoint store.
        file: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// A checkpoint is incomplete: some of its files are missing, cut short or damaged.
    #[error("the checkpoint of epoch {epoch} is incomplete: {}; nothing was changed; {}", .missing.join("; "), advice(.others))]
    Incomplete {
        /// The epoch that was to be restored.
        epoch: u64,
        /// The affected files, each with what is wrong with it.
        missing: Vec<String>,
        /// The other epochs in the store whose files are all there, as they were written.
        others: Vec<u64>,
    },
    /// A savepoint is not as it was taken.
    #[error(
        "the savepoint \"{}\" is damaged: {}; nothing was changed: bring its files back from a copy, or restore another savepoint or a checkpoint", .place.display(), .faults.join("; ")
    )]
    Savepoint {
        /// Folder of the savepoint.
        place: PathBuf,
        /// The affected files, each with what is wrong with it and where.
        faults: Vec<String>,
    },
    /// The store has files of checkpoints, but no manifest that names them.
    #[error(
        "there is no manifest in \"{manifests}\", but \"{file}\" is of epoch {epoch}, before which others were committed; nothing was changed: bring the manifests back, or start over"
    )]
    NoManifest {
        /// Where the manifests should be.
        manifests: String,
        /// Name of the newest of the files.
        file: String,
        /// Epoch of that file.
        epoch: u64,
    },
    /// The checkpoint directory was removed, replaced or unmounted since the job began.
    #[error(
        "the checkpoint directory \"{}\" was removed, replaced or unmounted while the job ran, and nothing is written to what may be another place: bring it back and start the job again, which goes on from its newest checkpoint there; if it is lost, start over in an empty one", .path.display()
    )]
    Gone {
        /// Path of the directory.
        path: PathBuf,
    },
    /// Another run of the job has taken over.
    #[error(
        "\"{file}\" exists already: another run of this job, {by}, has taken over and goes on; this one stops. Was it started while this one was still running? Then stop one of them, or give each its own checkpoint directory: of two runs over one directory the one that started last goes on"
    )]
    Fenced {
        /// Name of the manifest that the other run had written first.
        file: String,
        /// What is known about the other run.
        by: String,
    },
    /// Other runs of the job start at the same time, again and again.
    #[error(
        "other starts of job \"{job}\" claim \"{manifests}\" at the same time, again and again, and this one stops: start the job once, or give each run its own checkpoint directory"
    )]
    Contested {
        /// Name of the job.
        job: String,
        /// Where the manifests are.
        manifests: String,
    },
    /// The file system refused an operation.
    #[error("could not {what} \"{}\"", .path.display())]
    Io {
        /// The operation that was tried, as a verb.
        what: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// The file system's reason.
        #[source]
        source: io::Error,
    },
    /// RocksDB refused an operation.
    #[cfg(feature = "rocksdb")]
    #[error("RocksDB in \"{}\" could not {what}", .path.display())]
    Rocks {
        /// The operation that was tried, as a verb.
        what: &'static str,
        /// Path of the database's folder.
        path: PathBuf,
        /// The reason that RocksDB reports.
        #[source]
        source: rocksdb::Error,
    },
}

/// Returns a text that says which of the `whole` epochs can be restored instead.
pub(crate) fn advice(whole: &[u64]) -> String {
    if whole.is_empty() {
        return "no checkpoint here is complete: put the missing files back, or start over in an empty checkpoint directory"
            .to_owned();
    }
    let epochs: Vec<String> = whole.iter().map(u64::to_string).collect();
    format!("complete, and can be restored instead: {}", epochs.join(", "))
}

/// Returns the same advice as remedies.
pub(crate) fn instead(whole: &[u64]) -> Vec<Remedy> {
    if whole.is_empty() {
        return vec![Remedy::StartOver];
    }
    whole.iter().copied().map(Remedy::RestoreEpoch).collect()
}

impl StateError {
    /// Returns the kind of the error: what the user does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Setting { .. } | Self::Unwritable { .. } => ErrorKind::Invalid,
            Self::Mismatch { .. }
            | Self::Value { .. }
            | Self::Corrupt { .. }
            | Self::Incomplete { .. }
            | Self::Savepoint { .. }
            | Self::NoManifest { .. } => ErrorKind::Data,
            Self::Fenced { .. } | Self::Contested { .. } => ErrorKind::Fenced,
            Self::Internal(_) => ErrorKind::Internal,
            #[cfg(feature = "rocksdb")]
            Self::Rocks { source, .. } => match source.kind() {
                rocksdb::ErrorKind::Corruption => ErrorKind::Data,
                // RocksDB was called wrongly, and only this crate calls it.
                rocksdb::ErrorKind::InvalidArgument => ErrorKind::Internal,
                _ => ErrorKind::Unavailable,
            },
            Self::Io { .. } | Self::Gone { .. } => ErrorKind::Unavailable,
        }
    }

    /// Returns what can be done about the error in the settings of the job, the most likely remedy first.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Setting { remedies, .. } => remedies.clone(),
            Self::Value { .. } => vec![Remedy::RestoreEarlier],
            Self::Incomplete { others, .. } => instead(others),
            Self::NoManifest { .. } => vec![Remedy::RestoreNone],
            Self::Mismatch { .. } | Self::Gone { .. } => vec![Remedy::StartOver],
            Self::Fenced { .. } | Self::Contested { .. } => vec![Remedy::Setting("checkpoint_dir")],
            Self::Invalid(_)
            | Self::Internal(_)
            | Self::Unwritable { .. }
            | Self::Corrupt { .. }
            | Self::Savepoint { .. }
            | Self::Io { .. } => Vec::new(),
            #[cfg(feature = "rocksdb")]
            Self::Rocks { .. } => Vec::new(),
        }
    }

    /// Creates the error for a setting that does not fit, with what can be set instead.
    pub(crate) fn setting(reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Setting { reason: reason.into(), remedies: remedies.into() }
    }

    /// Returns whether a file was not there: a running job may have removed it since its name was read.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Adds to a `Fenced` error which run wrote the manifest `name` first.
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

    /// Returns an error of the variant after `error`'s, with its kind. A new variant breaks the build here.
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
                (StateError::Savepoint { place: path(), faults: vec![] }, ErrorKind::Data)
            }
            Some(StateError::Savepoint { .. }) => {
                (StateError::NoManifest { manifests: text(), file: text(), epoch: 9 }, ErrorKind::Data)
            }
            Some(StateError::NoManifest { .. }) => (StateError::Gone { path: path() }, ErrorKind::Unavailable),
            Some(StateError::Gone { .. }) => (StateError::Fenced { file: text(), by: text() }, ErrorKind::Fenced),
            Some(StateError::Fenced { .. }) => {
                (StateError::Contested { job: text(), manifests: text() }, ErrorKind::Fenced)
            }
            Some(StateError::Contested { .. }) => {
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
        assert_eq!(count, 15);
        // A folder that cannot be created is a fault outside the job.
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Db::open(&file.path().join("folder"), 0, true).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}
