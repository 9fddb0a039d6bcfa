//! What a worker has staged in an epoch: parts that are closed, and pieces that wait for theirs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill_engine::{ConnectorError, Epoch, ErrorKind};

use super::files::{IN_PROGRESS, failed, len_of, make_folder, remove, sync_folder};

const VERSION: u8 = 2;

/// What a worker has staged in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    version: u8,
    worker: usize,
    /// The parts that appear with this epoch.
    pub(super) parts: Vec<Part>,
    /// All pieces of this epoch and earlier ones that wait for their part to be closed.
    waiting: Vec<Piece>,
}

/// A part, whose pieces have been written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Its path below the sink's folder.
    name: String,
    /// In their order.
    pieces: Vec<Piece>,
}

/// A hidden file with the records of one epoch for one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    pub(super) temporary: String,
    /// The folder of its records, below that of the sink.
    pub(super) folder: String,
    pub(super) len: u64,
}

/// A part as tokens of version 1 have it: of one piece.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "version")]
    _version: u8,
    temporary: String,
    name: String,
    len: u64,
}

/// Returns the parts of these pieces: one for each folder.
pub(super) fn parts_of(pieces: Vec<Piece>, epoch: Epoch, worker: usize, extension: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for piece in pieces {
        let separator = if piece.folder.is_empty() { "" } else { "/" };
        let name = format!("{}{separator}part-e{:010}-w{worker:03}{extension}", piece.folder, epoch.0);
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.pieces.push(piece),
            None => parts.push(Part { name, pieces: vec![piece] }),
        }
    }
    parts
}

impl Token {
    pub(super) fn new(worker: usize, parts: Vec<Part>, waiting: Vec<Piece>) -> Self {
        Self { version: VERSION, worker, parts, waiting }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, ConnectorError> {
        serde_json::to_vec(self)
            .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "a part's token cannot be encoded", e))
    }

    /// Reads what the sink `name` staged in an epoch.
    pub(super) fn read(token: &[u8], name: &str, epoch: Epoch) -> Result<Self, ConnectorError> {
        /// The field that tokens of all versions have.
        #[derive(Deserialize)]
        struct Versioned {
            version: u8,
        }
        let staged = || format!("what \"{name}\" staged in epoch {epoch}");
        let other = |e| ConnectorError::caused(ErrorKind::Data, format!("{} is not a part file", staged()), e);
        let Versioned { version } = serde_json::from_slice(token).map_err(other)?;
        match version {
            1 => {
                let First { temporary, name, len, .. } = serde_json::from_slice(token).map_err(other)?;
                let piece = Piece { temporary, folder: String::new(), len };
                Ok(Self::new(0, vec![Part { name, pieces: vec![piece] }], Vec::new()))
            }
            VERSION => serde_json::from_slice(token).map_err(other),
            _ => {
                let message =
                    format!("{} is a part of version {version}, this build reads versions 1 to {VERSION}", staged());
                Err(ConnectorError::new(ErrorKind::Data, message))
            }
        }
    }

    /// Returns the parts of what waits, if it is closed with this epoch.
    pub(super) fn closed(&self, epoch: Epoch, extension: &str) -> Vec<Part> {
        parts_of(self.waiting.clone(), epoch, self.worker, extension)
    }
}

/// Puts pieces together into a new file.
pub(super) type PutTogether<'a> = dyn Fn(&[PathBuf], &mut File) -> Result<(), ConnectorError> + 'a;

impl Part {
    /// Makes the part visible, unless it is already. It may only be gone if it `may_be_published`, by the run before.
    ///
    /// Two runs may do so at once, if one has just taken over from the other.
    pub(super) fn publish(
        &self,
        root: &Path,
        put_together: &PutTogether<'_>,
        incarnation: u64,
        may_be_published: bool,
    ) -> Result<(), ConnectorError> {
        let path = root.join(&self.name);
        let folder = path.parent().unwrap_or(root);
        if let [Piece { temporary, len, .. }] = &*self.pieces {
            return publish_one((root, folder), &root.join(temporary), &path, *len, may_be_published);
        }
        let pieces: Vec<PathBuf> = self.pieces.iter().map(|piece| root.join(&piece.temporary)).collect();
        if len_of(&path)?.is_some() {
            return pieces.iter().try_for_each(|piece| remove(piece));
        }
        let lens = pieces.iter().map(|piece| len_of(piece)).collect::<Result<Vec<_>, _>>()?;
        if lens.iter().any(Option::is_none) && len_of(&path)?.is_some() {
            // The other run has put them together since.
            return pieces.iter().try_for_each(|piece| remove(piece));
        }
        if lens.iter().all(Option::is_none) {
            return gone(&path, may_be_published);
        }
        for ((piece, found), Piece { len, .. }) in pieces.iter().zip(lens).zip(&self.pieces) {
            match found {
                Some(found) if found == *len => {}
                Some(found) => return Err(changed(piece, found, *len)),
                None => {
                    let message = format!(
                        "\"{}\" is gone, a piece of \"{}\", of which others are there: it was removed by someone else",
                        piece.display(),
                        path.display()
                    );
                    return Err(ConnectorError::new(ErrorKind::Data, message));
                }
            }
        }
        make_folder(root, folder)?;
        let first = self.pieces.first().map_or("", |piece| piece.temporary.as_str());
        let made = root.join(format!("{first}-{incarnation:016x}.{IN_PROGRESS}"));
        let make = || {
            let mut file = File::create(&made).map_err(failed("create", &made))?;
            put_together(&pieces, &mut file)?;
            file.sync_all().map_err(failed("make durable", &made))?;
            fs::rename(&made, &path).map_err(failed("publish", &path))
        };
        match make() {
            // The other run was quicker, and has removed the pieces.
            Err(_) if len_of(&path)?.is_some() => remove(&made)?,
            made => made?,
        }
        sync_folder(folder)?;
        // A piece that stays, because of a crash here, is removed by the next start.
        pieces.iter().try_for_each(|piece| remove(piece))
    }
}

/// Renames the only piece of a part.
fn publish_one(
    (root, folder): (&Path, &Path),
    temporary: &Path,
    path: &Path,
    expected: u64,
    may_be_published: bool,
) -> Result<(), ConnectorError> {
    match (len_of(path)?, len_of(temporary)?) {
        (Some(len), _) if len == expected => Ok(()),
        (Some(len), _) => Err(changed(path, len, expected)),
        (None, Some(len)) if len == expected => {
            make_folder(root, folder)?;
            match fs::rename(temporary, path) {
                // The other run was quicker.
                Err(_) if len_of(path)? == Some(expected) => {}
                renamed => renamed.map_err(failed("publish", path))?,
            }
            sync_folder(folder)
        }
        (None, Some(len)) => Err(changed(temporary, len, expected)),
        // It may have been renamed between the two looks.
        (None, None) if len_of(path)? == Some(expected) => Ok(()),
        (None, None) => gone(path, may_be_published),
    }
}

/// Reports a part that is gone with its pieces, which disappear when it is published.
fn gone(path: &Path, may_be_published: bool) -> Result<(), ConnectorError> {
    if may_be_published {
        let part = path.display();
        tracing::warn!(%part, "a part file that the checkpoint names is gone: it was taken away after it had been published, or it is lost");
        return Ok(());
    }
    let message = format!("the hidden files of \"{}\" are gone: they were removed by someone else", path.display());
    Err(ConnectorError::new(ErrorKind::Data, message))
}

fn changed(path: &Path, len: u64, expected: u64) -> ConnectorError {
    let path = path.display();
    ConnectorError::new(
        ErrorKind::Data,
        format!(
            "\"{path}\" has {len} bytes, the checkpoint says {expected}: it was changed by someone else; nothing was overwritten"
        ),
    )
}
