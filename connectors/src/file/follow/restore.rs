//! A followed file after a restore: finds the file that was being read, wherever it is now.

use std::io;

use tidemill_engine::{Arrival, ConnectorError, ErrorKind, EventTime};

use super::{Followed, LostFile};
use crate::file::bytes::Bytes;
use crate::file::error::{cannot_read, invalid};
use crate::file::folder;
use crate::file::format::{Compression, Format};
use crate::file::generation::Begin;
use crate::file::handle::Handle;
use crate::file::identity::Identity;
use crate::file::position::{FollowedPosition, Merged, Place};
use crate::file::siblings;
use crate::file::stamp::Stamp;

/// Upper bound for the length of a header line, in bytes.
const HEADER: usize = 1 << 20;

/// A file of the checkpoint that was found again.
struct Found {
    handle: Handle,
    compression: Compression,
    /// The original file, if `handle` is a copy of its former content.
    cut: Option<Handle>,
}

impl Followed {
    /// Continues at the place in the checkpoint.
    pub(super) fn restore(&mut self, restored: Merged) -> Result<(), ConnectorError> {
        let Merged { done, partial, identities, watermark, followed, .. } = restored;
        self.watermark = EventTime(watermark);
        let begin = Begin { done, partial };
        let waits = followed.as_ref().is_some_and(|followed| followed.waits);
        match followed {
            Some(followed) => self.restore_followed(followed)?,
            // The job of the checkpoint read the file as a bounded one; this job follows it.
            None => self.after = siblings::newest(&self.path).map_err(|e| cannot_read(&self.path, e))?,
        }
        match &identities[..] {
            _ if waits => {}
            [] => self.restore_unknown(begin)?,
            [identity] => self.restore_current(identity, begin)?,
            _ => return Err(invalid(&self.path, "workers had read different files of this name before the restore")),
        }
        self.keep_named_open().map_err(|e| cannot_read(&self.path, e))
    }

    /// Keeps the file that has the name open, if it is not the current one, so that it is read later.
    fn keep_named_open(&mut self) -> io::Result<()> {
        let stamp = Stamp::of_path(&self.path)?;
        let is_read = |stamp: &Stamp| self.current.as_ref().is_some_and(|current| current.id() == stamp.id);
        if let Some(stamp) = stamp.filter(|stamp| !is_read(stamp)) {
            self.keep_open(Some(stamp))?;
        }
        Ok(())
    }

    fn restore_followed(&mut self, followed: FollowedPosition) -> Result<(), ConnectorError> {
        let failed = |e| cannot_read(&self.path, e);
        for pending in followed.pending {
            if let Some(path) = folder::with_id(&self.path, pending).map_err(failed)? {
                self.pending.push(Handle::open(&path).map_err(failed)?);
            }
        }
        self.quiet_since = followed.quiet_since.map(Arrival);
        (self.after, self.known) = (followed.after, followed.known);
        followed.before.into_iter().try_for_each(|place| self.restore_before(place))
    }

    fn restore_current(&mut self, identity: &Identity, begin: Begin) -> Result<(), ConnectorError> {
        let found = self.find(true, identity, &begin).map_err(|e| cannot_read(&self.path, e))?;
        if let Some(Found { handle, compression, cut }) = found {
            if cut.is_some() {
                self.after = self.after_reading(&handle, compression).map_err(|e| cannot_read(&self.path, e))?;
                self.pending.extend(cut);
            }
            self.current = Some(self.generation(handle, compression, begin)?);
            return Ok(());
        }
        self.lose_current(identity, begin.offset())
    }

    /// Handles the loss of the current file. If nothing of it was read and files were rotated away meanwhile, it is
    /// read as one of those; otherwise unread lines may be lost.
    pub(super) fn lose_current(&mut self, identity: &Identity, offset: u64) -> Result<(), ConnectorError> {
        if offset == 0 && !self.between().map_err(|e| cannot_read(&self.path, e))?.is_empty() {
            return Ok(());
        }
        self.lose(identity, offset)
    }

    /// Restores a position of version 1, which has no identity of the file.
    fn restore_unknown(&mut self, begin: Begin) -> Result<(), ConnectorError> {
        let offset = begin.offset();
        let handle = self.now().map_err(|e| cannot_read(&self.path, e))?;
        let Some(handle) = handle.filter(|handle| handle.first_length() >= offset) else {
            let what =
                format!("{offset} bytes of it were read before the restore, and now it is shorter, or not there");
            return Err(invalid(&self.path, &what));
        };
        self.begin(handle.clone(), Compression::None)?;
        self.current = Some(self.generation(handle, Compression::None, begin)?);
        Ok(())
    }

    /// Restores a file that was read before the current one. It may be gone if it had been read to its end.
    fn restore_before(&mut self, place: Place) -> Result<(), ConnectorError> {
        let Place { done, partial, identity: Some(identity), is_all_read } = place else { return Ok(()) };
        let begin = Begin { done: vec![done], partial };
        match self.find(false, &identity, &begin).map_err(|e| cannot_read(&self.path, e))? {
            Some(Found { handle, compression, .. }) => {
                self.known.push(handle.id());
                self.before.push(self.generation(handle, compression, begin)?);
                Ok(())
            }
            None if !is_all_read => self.lose(&identity, begin.offset()),
            None => Ok(()),
        }
    }

    /// Opens the file that has the name now, if there is one.
    fn now(&self) -> io::Result<Option<Handle>> {
        match Handle::open(&self.path) {
            Ok(handle) => Ok(Some(handle)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Finds the file of this identity: under the followed name if `may_be_named`, under another name in the same
    /// folder, or as a copy.
    fn find(&self, may_be_named: bool, identity: &Identity, begin: &Begin) -> io::Result<Option<Found>> {
        let offset = begin.offset();
        let now = if may_be_named { self.now()? } else { None };
        let path = self.path.display();
        let itself = |handle, compression| Ok(Some(Found { handle, compression, cut: None }));
        let mut cut = None;
        if let Some(handle) = now.as_ref().filter(|handle| handle.id() == identity.id) {
            if has_all(handle, identity, offset)? {
                return itself(handle.clone(), Compression::None);
            }
            cut = Some(handle.clone());
        } else if let Some(renamed) = folder::with_id(&self.path, identity.id)? {
            let (handle, compression) = (Handle::open(&renamed)?, siblings::compression_of(&renamed));
            // A compressed copy does not change, so it needs no check.
            if compression != Compression::None || has_all(&handle, identity, offset)? {
                tracing::info!(%path, renamed = %renamed.display(), "a followed file was rotated");
                return itself(handle, compression);
            }
            cut = Some(handle);
        }
        if let Some(copy) = siblings::copy_of(&self.path, identity, offset)? {
            tracing::info!(%path, copy = %copy.path.display(), "reading of a followed file continues with its copy");
            return Ok(Some(Found { handle: Handle::open(&copy.path)?, compression: copy.compression(), cut }));
        }
        // The file was moved to another file system or restored from a backup: it has another id, but the content
        // that was read is the same.
        let Some(handle) = now.filter(|_| offset > 0 && cut.is_none()) else { return Ok(None) };
        if !(self.has_lines_before(&handle, offset)? && has_all(&handle, identity, offset)?) {
            return Ok(None);
        }
        tracing::warn!(%path, offset, "a followed file is another one that begins with the content that was read: reading continues");
        itself(handle, Compression::None)
    }

    /// Returns whether there is more before `offset` than a header, which many files have in common.
    fn has_lines_before(&self, handle: &Handle, offset: u64) -> io::Result<bool> {
        if self.format != Format::Csv {
            return Ok(true);
        }
        let first = handle.bytes_at(0, usize::try_from(offset).unwrap_or(HEADER).min(HEADER))?;
        Ok(memchr::memchr_iter(b'\n', &first).count() > 1 || first.len() == HEADER)
    }

    /// Applies the policy for a file that is gone, perhaps with unread lines.
    fn lose(&mut self, identity: &Identity, offset: u64) -> Result<(), ConnectorError> {
        let what = format!(
            "it was read up to byte {offset} of a file ({}) that is not there any more: it was truncated, \
             overwritten, removed or replaced, and no file beside it has its content. Lines after that byte are \
             lost, if there were any",
            identity.describe()
        );
        match self.following.lost {
            LostFile::Stop => {
                let now = "put it back beside it, with a number behind its name, or go on without those lines: \
                           `lost_file(LostFile::ReadOn)` reads the file that has the name now from its beginning";
                let message = format!("\"{}\": {what}. What to do: {now}", self.path.display());
                Err(ConnectorError::new(ErrorKind::Data, message))
            }
            LostFile::ReadOn => {
                tracing::warn!(path = %self.path.display(), "{what}");
                self.following.lost_files.add(1);
                self.after = siblings::newest(&self.path).map_err(|e| cannot_read(&self.path, e))?;
                Ok(())
            }
        }
    }
}

/// Returns whether a file begins with the content that was read of the file of this identity.
fn has_all(handle: &Handle, identity: &Identity, offset: u64) -> io::Result<bool> {
    let mut bytes = Bytes::of(handle.clone(), Compression::None)?;
    Ok(handle.first_length() >= offset && identity.is_in(&mut bytes)?)
}
