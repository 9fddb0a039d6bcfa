//! The regular files in the folder of a file.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::stamp::{FileId, modified};

/// A file in the same folder as another one.
pub(crate) struct Sibling {
    pub(crate) path: PathBuf,
    pub(super) metadata: Metadata,
}

impl Sibling {
    pub(crate) fn id(&self) -> FileId {
        FileId::of(&self.metadata)
    }

    /// Returns the time of the last write, in ns since 1970.
    pub(super) fn modified(&self) -> i64 {
        modified(&self.metadata)
    }
}

/// Returns the target of `path` if it is a link, and otherwise the path.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the regular files in the folder of `path`, without the file itself, for which `will_do` returns true. It
/// gets the name of the file and the name of the other one.
pub(super) fn others(path: &Path, will_do: impl Fn(&str, &str) -> bool) -> io::Result<Vec<Sibling>> {
    let real = real(path);
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name();
        let other = other.to_string_lossy();
        if *other == *name || !will_do(&name, &other) {
            continue;
        }
        // A file that is removed meanwhile is left out.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() {
            found.push(Sibling { path: entry.path(), metadata });
        }
    }
    Ok(found)
}

/// Returns the path of the file in the folder of `path` that has this id.
pub(crate) fn with_id(path: &Path, id: FileId) -> io::Result<Option<PathBuf>> {
    Ok(others(path, |_, _| true)?.into_iter().find(|sibling| sibling.id() == id).map(|sibling| sibling.path))
}

/// Returns the time at which a file was last created, renamed or removed in the folder of `path`, in ns since 1970.
pub(crate) fn folder_changed(path: &Path) -> io::Result<i64> {
    let real = real(path);
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(modified(&fs::metadata(folder)?))
}
