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

/// The stored form, with one entry per file that the worker has a share of.
#[derive(Serialize, Deserialize)]
struct Files {
    files: Vec<FilePosition>,
}

impl Position for Files {
    /// Version 1 had no identities of files.
    const VERSION: u8 = 2;
    const OF: &'static str = "a file source's";
}

/// A worker's position in one file of the source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FilePosition {
    pub(super) path: String,
    /// The place in the file that is being read.
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) watermark: i64,
    pub(super) finished: bool,
    /// The rest of the position, if the file is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) followed: Option<FollowedPosition>,
}

/// How much of one file was read, and by what the file is recognized.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) done: SplitsPosition,
    /// Number of bytes that were read of a chunk that the file did not fill yet, by chunk.
    pub(super) partial: Partials,
    /// The identity of the file. Positions of version 1 have none.
    #[serde(default)]
    pub(super) identity: Option<Identity>,
    /// Whether a followed file was read to its end.
    #[serde(default)]
    pub(super) is_all_read: bool,
}

/// The part of a position that only a followed file has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct FollowedPosition {
    /// Whether no file is being read: the last one is gone, and the next one has not come.
    pub(super) waits: bool,
    /// The time since which nothing has been read, by the job's clock.
    pub(super) quiet_since: Option<u64>,
    /// Files that were rotated away by then are older than the one that is read.
    pub(super) after: Newest,
    /// The files that were read before, to which a process may still write.
    pub(super) before: Vec<Place>,
    /// The files that had the name while another file was still being read.
    pub(super) pending: Vec<FileId>,
    /// The files that were read before.
    pub(super) known: Vec<FileId>,
}

pub(super) fn encode(files: Vec<FilePosition>) -> Result<Vec<u8>, ConnectorError> {
    position::encode(&Files { files })
}

/// Returns, for each file of `paths`, the entries of the workers of the restored run.
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

/// The positions in one file of all workers of the restored run, merged into one.
pub(super) struct Merged {
    pub(super) done: Vec<SplitsPosition>,
    pub(super) partial: Partials,
    /// The different identities that the workers stored; normally one.
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
    fn an_invalid_position_or_one_of_other_files_is_an_error() {
        let error = |bytes: &[u8]| restored(&[bytes.to_vec()], &["a".into()]).unwrap_err().to_string();
        assert!(error(b"{}").contains("not a file source's"));
        assert!(error(br#"{"version":9,"files":[]}"#).contains("of version 9, this build reads up to 2"));
        let file = r#"{"path":"b","done":{"floor":0,"shares":[]},"partial":[],"watermark":0,"finished":true}"#;
        let other = format!(r#"{{"version":2,"files":[{file}]}}"#);
        assert!(error(other.as_bytes()).contains("was reading \"b\""));
    }
}
