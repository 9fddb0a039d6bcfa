//! The folder of a sink: what is in it, and how a change of it becomes durable.

use std::fs::{self, File};
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use tidemill_engine::{ConnectorError, Epoch, ErrorKind};

use crate::began::began;

/// How the names of hidden files end.
pub(super) const IN_PROGRESS: &str = "inprogress";

pub(super) fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> ConnectorError {
    let message = format!("could not {what} \"{}\"", path.display());
    move |e| ConnectorError::caused(ErrorKind::Unavailable, message, e)
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), ConnectorError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("make durable", folder))
}

/// Makes a folder below `root`, so that it stays.
pub(super) fn make_folder(root: &Path, folder: &Path) -> Result<(), ConnectorError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    folder.ancestors().skip(1).take_while(|above| above.starts_with(root)).try_for_each(sync_folder)
}

pub(super) fn len_of(path: &Path) -> Result<Option<u64>, ConnectorError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(e) if e.kind() == IoErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("look at", path)(e)),
    }
}

pub(super) fn remove(path: &Path) -> Result<(), ConnectorError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != IoErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Returns the files of a folder, and of those below it if it has `partitions`.
fn files_in(folder: &Path, partitions: bool) -> Result<Vec<PathBuf>, ConnectorError> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let entry = entry.map_err(failed("list", &folder))?;
            match entry.file_type().map_err(failed("look at", &entry.path()))?.is_dir() {
                true if partitions => folders.push(entry.path()),
                true => {}
                false => found.push(entry.path()),
            }
        }
    }
    Ok(found)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Returns the epoch in the name of a published part.
fn epoch_of(name: &str) -> Option<u64> {
    name.strip_prefix("part-e")?.split_once("-w")?.0.parse().ok()
}

/// Refuses parts of epochs that this job has not run yet: they are from another run, and records would appear twice.
pub(super) fn refuse_later_parts(folder: &Path, partitions: bool, restored: Epoch) -> Result<(), ConnectorError> {
    let is_later = |path: &PathBuf| epoch_of(name(path)).is_some_and(|epoch| epoch > restored.0);
    let Some(path) = files_in(folder, partitions)?.into_iter().find(is_later) else { return Ok(()) };
    let started = began(restored);
    let (folder, name) = (folder.display(), path.strip_prefix(folder).unwrap_or(&path).display());
    Err(ConnectorError::new(
        ErrorKind::Invalid,
        format!(
            "folder \"{folder}\" has \"{name}\" of another run, and {started}: published output is not removed; \
             restore that run's checkpoint, or write to an empty folder"
        ),
    ))
}

/// Removes the hidden files of epochs that never committed: all are in the folder of the sink itself, since those below it may
/// be another one's. The caller has already published every part that a token names.
pub(super) fn remove_unnamed(folder: &Path) -> Result<(), ConnectorError> {
    let unnamed = files_in(folder, false)?.into_iter().filter(|path| name(path).ends_with(IN_PROGRESS));
    unnamed.into_iter().try_for_each(|path| remove(&path))
}
