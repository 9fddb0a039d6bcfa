//! Copies of versions beside the checkpoints, so that a restart needs no repository and no registry.
//!
//! ```text
//! <checkpoint_dir>/models/<sha256 of the model's file>/     all files of the version
//! ```
//! A copy is complete once it has its name. One that no checkpoint needs any more is deleted.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::infer::versions::VersionId;

/// The folder of copies.
#[derive(Clone, Debug)]
pub(in crate::infer) struct Kept {
    root: PathBuf,
    /// Whether this process writes them; the others of a job only read.
    writes: bool,
}

impl Kept {
    pub(in crate::infer) fn beside(checkpoints: &Path, writes: bool) -> Self {
        Self { root: checkpoints.join("models"), writes }
    }

    fn folder(&self, id: &VersionId) -> PathBuf {
        // A hash of another source may have characters that a name of a file must not have.
        self.root.join(id.sha256.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>())
    }

    /// Returns the copy of a version, if there is one.
    pub(super) fn find(&self, id: &VersionId) -> Option<PathBuf> {
        Some(self.folder(id)).filter(|folder| folder.is_dir())
    }

    /// Copies the files of a version, unless they were copied before.
    pub(super) fn keep(&self, id: &VersionId, from: &Path) -> io::Result<()> {
        let to = self.folder(id);
        if !self.writes || to.exists() {
            return Ok(());
        }
        let part = to.with_extension("part");
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        copy(from, &part)?;
        fs::rename(&part, &to)
    }

    /// Deletes the copies of all versions but these.
    pub(super) fn retain(&self, needed: &BTreeSet<VersionId>) -> io::Result<()> {
        if !self.writes || !self.root.exists() {
            return Ok(());
        }
        let needed: BTreeSet<PathBuf> = needed.iter().map(|id| self.folder(id)).collect();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if !needed.contains(&path) {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

/// Copies a folder with all that is in it, and has it reach the disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
            fs::File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn id(sha256: &str) -> VersionId {
        VersionId { name: "fraud".to_owned(), version: NonZeroU64::MIN, sha256: sha256.to_owned() }
    }

    #[test]
    fn a_copy_is_whole_and_stays_as_long_as_it_is_needed() {
        let (source, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(source.path().join("weights")).unwrap();
        fs::write(source.path().join("model.onnx"), "model").unwrap();
        fs::write(source.path().join("weights/a"), "weights").unwrap();
        let kept = Kept::beside(checkpoints.path(), true);
        let reader = Kept::beside(checkpoints.path(), false);
        reader.keep(&id("aa"), source.path()).unwrap();
        assert_eq!(reader.find(&id("aa")), None, "one process writes");
        // What a process has left that was killed while it copied.
        fs::create_dir_all(checkpoints.path().join("models/aa.part")).unwrap();
        for sha256 in ["aa", "bb", "../x"] {
            kept.keep(&id(sha256), source.path()).unwrap();
        }
        let copy = reader.find(&id("aa")).unwrap();
        assert_eq!(fs::read_to_string(copy.join("weights/a")).unwrap(), "weights");
        assert!(kept.find(&id("../x")).unwrap().starts_with(checkpoints.path().join("models")));
        kept.retain(&[id("bb")].into()).unwrap();
        assert_eq!((kept.find(&id("aa")), kept.find(&id("bb")).is_some()), (None, true));
    }
}
