//! The stored position of a worker's share of a file source: the place reached in each file, and the file's identity.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::identity::Identity;
use super::piece::Partials;
use super::siblings::Newest;
use super::stamp::FileId;
use crate::position::{self, Position};
use crate::splits::SplitsPosition;

/// One entry per file that the worker has a share of.
#[derive(Serialize, Deserialize)]
struct Files {
    files: Vec<FilePosition>,
}

impl Position for Files {
    /// Version 1 had no identities.
    const VERSION: u8 = 2;
    const OF: &'static str = "a file source's";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FilePosition {
    pub(super) path: String,
    /// Of the file that is read.
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) watermark: i64,
    pub(super) finished: bool,
    /// Only of a file that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) followed: Option<FollowedPosition>,
}

/// How much of one file was read, and how to know it again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) done: SplitsPosition,
    /// Bytes of a chunk that were read while the file had no more, by chunk.
    pub(super) partial: Partials,
    /// Not in positions of version 1.
    #[serde(default)]
    pub(super) identity: Option<Identity>,
    /// Whether a followed file had nothing more.
    #[serde(default)]
    pub(super) is_all_read: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct FollowedPosition {
    /// Nothing is read: the file that was is gone, and the next one had not come.
    pub(super) waits: bool,
    /// When it gave something last, by the job's clock.
    pub(super) quiet_since: Option<u64>,
    /// Files that were rotated away by then are older than the one that is read.
    pub(super) after: Newest,
    /// The files that were read before, which somebody may still be writing to.
    pub(super) before: Vec<Place>,
    /// What had the name when something else was still read.
    pub(super) held: Vec<FileId>,
    /// Files that were read before.
    pub(super) known: Vec<FileId>,
}

pub(super) fn encode(files: Vec<FilePosition>) -> Result<Vec<u8>, ConnectorError> {
    position::encode(&Files { files })
}

/// The old workers' entries for each file of `paths`.
pub(super) fn restored(positions: &[Vec<u8>], paths: &[PathBuf]) -> Result<Vec<Vec<FilePosition>>, ConnectorError> {
    let mut restored: Vec<Vec<FilePosition>> = vec![Vec::new(); paths.len()];
    for bytes in positions {
        for file in position::decode::<Files>(bytes)?.files {
            let index = paths.iter().position(|path| name(path) == file.path).ok_or_else(|| {
                let what = format!(
                    "the checkpoint was reading \"{}\", which this run does not: name the same files",
                    file.path
                );
                ConnectorError::new(ErrorKind::Invalid, what)
            })?;
            restored[index].push(file);
        }
    }
    Ok(restored)
}

pub(super) fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What the old workers' shares of one file say together, if there are any.
pub(super) struct Merged {
    pub(super) done: Vec<SplitsPosition>,
    pub(super) partial: Partials,
    /// Each that differs from the others.
    pub(super) identities: Vec<Identity>,
    pub(super) watermark: i64,
    pub(super) finished: bool,
    pub(super) followed: Option<FollowedPosition>,
}

impl Merged {
    pub(super) fn of(files: Vec<FilePosition>) -> Option<Self> {
        let mut merged = Self {
            done: Vec::new(),
            partial: Partials::new(),
            identities: Vec::new(),
            watermark: files.iter().map(|file| file.watermark).min()?,
            finished: files.iter().all(|file| file.finished),
            followed: None,
        };
        for FilePosition { place: Place { done, partial, identity, .. }, followed, .. } in files {
            merged.done.push(done);
            merged.partial.extend(partial);
            merged.followed = merged.followed.or(followed);
            merged.identities.extend(identity.filter(|identity| !merged.identities.contains(identity)));
        }
        Some(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_version_1_are_read() {
        let share = r#"{"floor":2,"shares":[{"modulus":2,"residue":0,"end":4}]}"#;
        let file = format!(r#"{{"path":"a.jsonl","done":{share},"partial":[[4,7]],"watermark":-3,"finished":false}}"#);
        let bytes = format!(r#"{{"version":1,"files":[{file}]}}"#).into_bytes();
        let mut files = restored(&[bytes], &["a.jsonl".into()]).unwrap();
        let merged = Merged::of(files.remove(0)).unwrap();
        assert_eq!((merged.partial, merged.watermark, merged.finished), (vec![(4, 7)], -3, false));
        assert!(merged.identities.is_empty() && merged.followed.is_none());
        assert_eq!(crate::splits::Splits::new(0, 1, &merged.done).next(), 3);
    }

    #[test]
    fn what_is_no_position_or_of_other_files_is_an_error() {
        let error = |bytes: &[u8]| restored(&[bytes.to_vec()], &["a".into()]).unwrap_err().to_string();
        assert!(error(b"{}").contains("not a file source's"));
        assert!(error(br#"{"version":9,"files":[]}"#).contains("of version 9, this build reads up to 2"));
        let file = r#"{"path":"b","done":{"floor":0,"shares":[]},"partial":[],"watermark":0,"finished":true}"#;
        let other = format!(r#"{{"version":2,"files":[{file}]}}"#);
        assert!(error(other.as_bytes()).contains("was reading \"b\""));
    }
}
