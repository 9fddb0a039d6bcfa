//! A file that is read to its end once. It is opened when its turn comes, and closed when it is done.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tidemill_engine::source::SourceContext;
use tidemill_engine::{ConnectorError, ErrorKind, EventTime};

use super::bytes::Bytes;
use super::content::Content;
use super::error::{cannot_read, unreadable};
use super::format::{Compression, Format, format_of};
use super::handle::Handle;
use super::identity::{Identity, Seen};
use super::piece::{Malformed, Partials, Read};
use super::position::{FilePosition, Merged, Place, name};
use super::stamp::Stamp;
use crate::splits::Splits;

/// One file, as one worker reads it.
pub(super) struct Bounded {
    path: PathBuf,
    handle: Handle,
    format: (Format, Compression),
    identity: Identity,
    splits: Splits,
    /// The parts of pieces that were read. `content` has its own while it is open.
    partials: Partials,
    content: Option<Content>,
    /// Whether the checkpoint has a position of this file.
    is_begun: bool,
    pub(super) watermark: EventTime,
    pub(super) finished: bool,
}

impl Bounded {
    /// Opens the file to check that it can be read and to see how it begins.
    pub(super) fn open<L: DeserializeOwned>(
        path: &Path,
        context: &SourceContext,
        restored: Option<Merged>,
    ) -> Result<Self, ConnectorError> {
        let format = format_of(path)?;
        let handle = Handle::open(path).map_err(|e| cannot_read(path, e))?;
        let stamp = Stamp::of(&handle.metadata().map_err(|e| cannot_read(path, e))?);
        let seen = Seen::up_to(&handle, stamp.length).map_err(|e| cannot_read(path, e))?;
        let identity = seen.identity(stamp);
        if let Some(restored) = &restored {
            check(path, &handle, &identity, restored)?;
        }
        let is_begun = restored.is_some();
        let (done, partials, watermark, finished) = match restored {
            Some(Merged { done, partial, watermark, finished, .. }) => (done, partial, watermark, finished),
            None => (Vec::new(), Partials::new(), i64::MIN, false),
        };
        let splits = Splits::new(context.worker, context.workers, &done);
        let watermark = EventTime(watermark);
        let path = path.to_owned();
        let mut file =
            Self { path, handle, format, identity, splits, partials, content: None, is_begun, watermark, finished };
        file.content::<L>()?;
        Ok(file)
    }

    fn content<L: DeserializeOwned>(&mut self) -> Result<&mut Content, ConnectorError> {
        let content = match self.content.take() {
            Some(content) => content,
            None => {
                let partials = self.partials.clone();
                Content::of::<L>(&self.path, self.handle.clone(), self.format, &self.splits, partials)?
            }
        };
        Ok(self.content.insert(content))
    }

    /// Returns the first records of the file, if it was not read before. They decide when its turn comes.
    pub(super) fn first<L: DeserializeOwned>(&mut self) -> Result<Vec<L>, ConnectorError> {
        if self.is_begun || self.finished {
            return Ok(Vec::new());
        }
        self.content::<L>()?.first()
    }

    /// Closes the file until it is read again.
    pub(super) fn close(&mut self) {
        if let Some(content) = self.content.take() {
            self.partials = content.partials(self.splits.next());
        }
        self.handle.close();
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the next piece. Returns whether there was one.
    pub(super) fn read<L: DeserializeOwned>(
        &mut self,
        found: impl FnMut(Result<L, Malformed>),
    ) -> Result<bool, ConnectorError> {
        let piece = self.splits.next();
        let read = self.content::<L>()?.read::<L>(piece, found)?;
        match read {
            Read::Whole { last } => {
                self.splits.advance();
                let next = self.splits.next();
                self.content::<L>()?.begin(next);
                self.finished = last;
            }
            Read::Part => {}
            Read::Nothing => self.finished = true,
        }
        if self.finished {
            self.finish()?;
        }
        Ok(read != Read::Nothing)
    }

    /// Closes the file at its end. It must not be shorter than when it was opened.
    fn finish(&mut self) -> Result<(), ConnectorError> {
        let length = self.handle.metadata().map_err(|e| cannot_read(&self.path, e))?.len();
        if length < self.identity.length {
            let was = self.identity.length;
            let what = format!(
                "\"{}\": it had {was} bytes, and {length} when its end was read: it was cut while it was read",
                self.path.display()
            );
            return Err(ConnectorError::new(ErrorKind::Data, what));
        }
        self.close();
        Ok(())
    }

    pub(super) fn position(&self) -> FilePosition {
        let next = self.splits.next();
        let partial = self.content.as_ref().map_or_else(|| self.partials.clone(), |content| content.partials(next));
        let identity = Some(self.identity.clone());
        FilePosition {
            path: name(&self.path),
            place: Place { done: self.splits.position(), partial, identity, is_all_read: false },
            watermark: self.watermark.0,
            finished: self.finished,
            followed: None,
        }
    }
}

/// Checks that the file is the one that was read before the restore: that its length and some samples of its bytes
/// are the same.
fn check(path: &Path, handle: &Handle, now: &Identity, restored: &Merged) -> Result<(), ConnectorError> {
    for was in &restored.identities {
        // A file that was followed may have grown.
        let is_as_long = if restored.followed.is_some() { now.length >= was.length } else { now.length == was.length };
        let bytes = Bytes::of(handle.clone(), Compression::None);
        if is_as_long && bytes.and_then(|mut bytes| was.is_in(&mut bytes)).map_err(|e| unreadable(path, "", e))? {
            continue;
        }
        let what = format!(
            "\"{}\": it is not the file that was read before the restore: that had {}; this one has {}. Put that one back, or \
             start without the checkpoint. (Files that grow or are rotated are read with `follow`.)",
            path.display(),
            was.describe(),
            now.describe()
        );
        return Err(ConnectorError::new(ErrorKind::Data, what));
    }
    Ok(())
}
