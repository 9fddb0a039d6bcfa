//! The choice of the file to read next: when another file has the name, or when the current file was cut.

use std::io;

use tidemill_engine::ConnectorError;

use super::{Followed, KNOWN, READ_ON};
use crate::file::error::cannot_read;
use crate::file::folder::{self, Sibling};
use crate::file::format::Compression;
use crate::file::generation::{Begin, Generation};
use crate::file::handle::Handle;
use crate::file::siblings::{self, Newest};
use crate::file::stamp::{Stamp, modified};

/// The file that is read after one that was rotated away.
pub(super) enum Successor {
    /// A file that came after it and was itself rotated away before it was seen under the name.
    Between(Sibling),
    /// A file that had the name when it was checked.
    Pending(Handle),
}

impl Followed {
    /// Begins to read a file, from its first byte.
    pub(super) fn begin(&mut self, handle: Handle, compression: Compression) -> Result<(), ConnectorError> {
        self.after = self.after_reading(&handle, compression).map_err(|e| cannot_read(&self.path, e))?;
        self.current = Some(self.generation(handle, compression, Begin::default())?);
        (self.searched, self.looked_back) = (None, None);
        Ok(())
    }

    /// Returns the age that the files read after this one must exceed.
    pub(super) fn after_reading(&self, handle: &Handle, compression: Compression) -> io::Result<Newest> {
        let own = Newest::of_read(&handle.metadata()?, compression);
        // All files beside the one that has the name came before it.
        let has_name = Stamp::of_path(&self.path)?.is_some_and(|stamp| stamp.id == handle.id());
        let before = if has_name { siblings::newest(&self.path)? } else { self.after };
        Ok(before.max(own))
    }

    /// Returns the file to read once the current one is at its end and the name has another file. A file is returned
    /// only when there is something in it.
    pub(super) fn next(&mut self, stamp: Option<Stamp>) -> io::Result<Option<Successor>> {
        let pending = self.keep_open(stamp)?;
        let folder = folder::folder_changed(&self.path)?;
        if pending.is_none() && self.searched == Some(folder) {
            return Ok(None);
        }
        let between = self.between()?.into_iter().next();
        let is_first = |sibling: &Sibling| pending.is_none_or(|(_, written)| sibling.order().0 < written);
        if let Some(sibling) = between.filter(is_first) {
            return Ok(Some(Successor::Between(sibling)));
        }
        self.searched = Some(folder);
        Ok(pending.and_then(|(index, _)| self.pending.get(index)).cloned().map(Successor::Pending))
    }

    /// Opens the file that has the name, if it is not open yet, and keeps it open: it may lose its name before
    /// anything is in it. Returns the index of the earliest open file that is not empty, and when it was written to.
    /// The file that has the name comes last.
    pub(super) fn keep_open(&mut self, stamp: Option<Stamp>) -> io::Result<Option<(usize, i64)>> {
        let is_new = |stamp: &Stamp| !self.pending.iter().any(|pending| pending.id() == stamp.id);
        if stamp.as_ref().is_some_and(is_new) {
            match Handle::open(&self.path) {
                Ok(handle) => self.pending.push(handle),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        let mut written = None;
        let mut kept = Vec::new();
        for handle in self.pending.drain(..) {
            let metadata = match handle.metadata() {
                Ok(metadata) => metadata,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let has_name = stamp.is_some_and(|stamp| stamp.id == handle.id());
            let at = if has_name { i64::MAX } else { modified(&metadata) };
            if metadata.len() > 0 && written.is_none_or(|(_, written)| at < written) {
                written = Some((kept.len(), at));
            }
            kept.push(handle);
        }
        self.pending = kept;
        Ok(written)
    }

    /// Checks for a copy of earlier content, if nothing of the current file was read yet: the file may have been
    /// copied away and cut, and nothing in it shows that. Such a copy is read first. Returns whether there is one.
    pub(super) fn read_earlier(&mut self, stamp: Option<Stamp>) -> Result<bool, ConnectorError> {
        let Some(current) = self.current.as_ref().filter(|current| current.offset() == 0) else { return Ok(false) };
        let failed = |e| cannot_read(&self.path, e);
        let folder = folder::folder_changed(&self.path).map_err(failed)?;
        let is_empty = stamp.is_some_and(|stamp| stamp.id == current.id() && stamp.length == 0);
        if is_empty && self.looked_back == Some(folder) {
            return Ok(false);
        }
        // The current file may be gone by now, because it was compressed.
        let written = current.handle().metadata().map_or(current.stamp().modified, |metadata| modified(&metadata));
        let earlier = self.between().map_err(failed)?.into_iter().next();
        self.looked_back = Some(folder);
        // A file may be copied and cut within one tick of the file system's clock. Of two compressed files of the same
        // time neither is the earlier one: each would be left for the other, again and again.
        let is_earlier = |earlier: &Sibling| match current.is_compressed() {
            true => earlier.order().0 < written,
            false => earlier.order().0 <= written,
        };
        let Some(earlier) = earlier.filter(is_earlier) else { return Ok(false) };
        if !current.is_compressed() {
            // A compressed one is found again by `between`.
            self.pending.push(current.handle().clone());
        }
        self.read_between(&earlier)?;
        Ok(true)
    }

    fn read_between(&mut self, next: &Sibling) -> Result<(), ConnectorError> {
        tracing::info!(path = %self.path.display(), next = %next.path.display(), "a followed file was rotated more than once");
        let handle = Handle::open(&next.path).map_err(|e| cannot_read(&self.path, e))?;
        self.begin(handle, next.compression())
    }

    /// Returns the files that came after the current one and were rotated away before they were seen under the name.
    pub(super) fn between(&self) -> io::Result<Vec<Sibling>> {
        let read = self.current.iter().chain(&self.before).map(Generation::handle);
        let open: Vec<&Handle> = read.chain(&self.pending).collect();
        siblings::between(&self.path, self.after, &self.known, &open)
    }

    /// Goes on with the copy of the current file, which was cut or written over: the copy has the unread rest.
    pub(super) fn go_on_with_copy(&mut self) -> Result<(), ConnectorError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if self.is_read_and_deleted(&current) {
            // The file had no name and was closed since, so it cannot be opened again. All of it was read.
            return Ok(());
        }
        let (place, begin) = (current.place(), current.begin());
        let Some(identity) = place.identity else { return Ok(()) };
        let offset = begin.offset();
        let failed = |e| cannot_read(&self.path, e);
        let copy = siblings::copy_of(&self.path, &identity, offset).map_err(failed)?;
        let Some(copy) = copy else { return self.lose_current(&identity, offset) };
        tracing::info!(path = %self.path.display(), copy = %copy.path.display(), offset, "a followed file was copied and truncated: reading continues with the copy");
        self.following.rotations.add(1);
        let handle = Handle::open(&copy.path).map_err(failed)?;
        self.after = self.after_reading(&handle, copy.compression()).map_err(failed)?;
        self.pending.push(current.handle().clone());
        self.current = Some(self.generation(handle, copy.compression(), begin)?);
        Ok(())
    }

    /// Puts a file that is read to its end among the earlier ones, where lines are still read if a process writes to
    /// it.
    fn leave(&mut self, old: Generation) {
        self.known.push(old.id());
        self.known.drain(..self.known.len().saturating_sub(KNOWN));
        self.before.push(old);
        self.before.drain(..self.before.len().saturating_sub(READ_ON));
    }

    /// Leaves the current file, which is at its end, and begins with the next one.
    pub(super) fn move_on(&mut self, next: Successor) -> Result<(), ConnectorError> {
        self.is_deleted = false;
        if let Some(old) = self.current.take() {
            tracing::info!(path = %self.path.display(), read = old.offset(), "a followed file was rotated, and was read to its end");
            self.following.rotations.add(1);
            self.leave(old);
        }
        let next_id = match &next {
            Successor::Pending(handle) => handle.id(),
            Successor::Between(sibling) => sibling.id(),
        };
        // Open files that are empty and no longer have the name are treated as earlier files: lines may still come.
        let named = Stamp::of_path(&self.path).map_err(|e| cannot_read(&self.path, e))?.map(|stamp| stamp.id);
        for pending in std::mem::take(&mut self.pending).into_iter().filter(|pending| pending.id() != next_id) {
            let is_empty = pending.metadata().is_ok_and(|metadata| metadata.len() == 0);
            if is_empty && named != Some(pending.id()) {
                let pending = self.generation(pending, Compression::None, Begin::default())?;
                self.leave(pending);
            } else {
                self.pending.push(pending);
            }
        }
        match next {
            Successor::Pending(handle) => self.begin(handle, Compression::None),
            Successor::Between(next) => self.read_between(&next),
        }
    }
}
