//! The regular files in the folder of a file.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::stamp::{FileId, modified};

/// A file that lies beside another one.
pub(crate) struct Sibling {
    pub(crate) path: PathBuf,
    pub(super) metadata: Metadata,
}

impl Sibling {
    pub(crate) fn id(&self) -> FileId {
        FileId::of(&self.metadata)
    }

    /// When it was written to last.
    pub(super) fn modified(&self) -> i64 {
        modified(&self.metadata)
    }
}

/// Where `path` leads to, if it is a link.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The regular files in the folder of `path` whose names will do, but not the one it names.
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
        // What goes while it is looked at is not there.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() {
            found.push(Sibling { path: entry.path(), metadata });
        }
    }
    Ok(found)
}

/// The file beside `path` that is this very file.
pub(crate) fn with_id(path: &Path, id: FileId) -> io::Result<Option<PathBuf>> {
    Ok(others(path, |_, _| true)?.into_iter().find(|sibling| sibling.id() == id).map(|sibling| sibling.path))
}

/// When something was last made, renamed or removed in the folder of `path`.
pub(crate) fn folder_changed(path: &Path) -> io::Result<i64> {
    let real = real(path);
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(modified(&fs::metadata(folder)?))
}
