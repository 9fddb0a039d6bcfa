//! Copies of versions beside the checkpoints, so that a restart needs no repository and no registry.
//!
//! ```text
//! <checkpoint_dir>/versions/<operator>/<sha256 of the model's file>/     all files of the version
//! ```
//! A copy is complete once it has its name. One that no checkpoint needs any more is deleted.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tidemill_engine::locks::lock;

use crate::infer::versions::VersionId;

/// The folder of copies.
#[derive(Debug)]
pub(in crate::infer) struct Kept {
    root: PathBuf,
    /// Whether this process writes them; the others of a job only read.
    writes: bool,
    /// Held while a version is copied, and while others are deleted.
    busy: Mutex<()>,
}

impl Kept {
    pub(in crate::infer) fn beside(checkpoints: &Path, operator: &str, writes: bool) -> Self {
        Self { root: checkpoints.join("versions").join(operator), writes, busy: Mutex::default() }
    }

    /// Returns where the copy of a version is. Only what is told apart by the hash of a file is copied.
    fn folder(&self, id: &VersionId) -> Option<PathBuf> {
        is_sha256(&id.sha256).then(|| self.root.join(&id.sha256))
    }

    /// Returns the copy of a version, if there is one.
    pub(super) fn find(&self, id: &VersionId) -> Option<PathBuf> {
        self.folder(id).filter(|folder| folder.is_dir())
    }

    /// Copies the files of a version, unless they were copied before.
    pub(super) fn keep(&self, id: &VersionId, from: &Path) -> io::Result<()> {
        let Some(to) = self.folder(id).filter(|to| self.writes && !to.exists()) else { return Ok(()) };
        let _busy = lock(&self.busy);
        let part = to.with_extension("part");
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        copy(from, &part)?;
        fs::rename(&part, &to)
    }

    /// Deletes the copies of all versions but these. Returns false if that has to wait, because one is being copied.
    pub(super) fn retain(&self, needed: &BTreeSet<VersionId>) -> io::Result<bool> {
        let Ok(_busy) = self.busy.try_lock() else { return Ok(false) };
        if !self.writes || !self.root.exists() {
            return Ok(true);
        }
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_copy = name.to_str().is_some_and(is_sha256);
            if is_copy && !needed.iter().any(|id| name == id.sha256.as_str()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(true)
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
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
        let kept = Kept::beside(checkpoints.path(), "score", true);
        let reader = Kept::beside(checkpoints.path(), "score", false);
        let [one, other] = ["a", "b"].map(|digit| id(&digit.repeat(64)));
        reader.keep(&one, source.path()).unwrap();
        assert_eq!(reader.find(&one), None, "one process writes");
        // What a process has left that was killed while it copied.
        let root = checkpoints.path().join("versions/score");
        fs::create_dir_all(root.join(&one.sha256).with_extension("part")).unwrap();
        fs::create_dir_all(root.join("something else")).unwrap();
        for id in [&one, &other, &id("../x"), &id("7")] {
            kept.keep(id, source.path()).unwrap();
        }
        let copy = reader.find(&one).unwrap();
        assert_eq!(fs::read_to_string(copy.join("weights/a")).unwrap(), "weights");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 3, "what has no hash of a file is not copied");
        assert!(kept.retain(&[other.clone()].into()).unwrap());
        assert_eq!((kept.find(&one), kept.find(&other).is_some()), (None, true));
        assert!(root.join("something else").exists(), "nothing else is deleted");
        let busy = lock(&kept.busy);
        assert!(!kept.retain(&BTreeSet::new()).unwrap() && kept.find(&other).is_some(), "one is being copied");
        drop(busy);
    }
}
