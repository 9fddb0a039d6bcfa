//! Following a file by its name: the order in which the files that have the name in turn are read.
//!
//! ```text
//! current ── at its end, and the name has another file that is not empty ──▶ before (read on while they exist)
//!    │                                                                        the next file becomes current:
//!    │                                                                        one that came between, or the named one
//!    └── cut or written over ──▶ its copy, from the place reached; then the name's file from its beginning
//! ```
//! Every line is read once. If that is impossible, because unread lines may be gone, reading stops with an error, or
//! continues without them if the settings say so ([`LostFile`]).

mod next;
mod restore;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::Counter;
use tidemill_engine::{Arrival, ConnectorError, EventTime};

use crate::file::error::{cannot_read, invalid};
use crate::file::format::{Compression, Format, format_of};
use crate::file::generation::{Begin, Generation, Outcome};
use crate::file::handle::Handle;
use crate::file::piece::Malformed;
use crate::file::position::{FilePosition, FollowedPosition, Merged, name};
use crate::file::siblings::{self, Newest};
use crate::file::stamp::{FileId, Stamp};

/// Maximum number of files that are remembered as read.
const KNOWN: usize = 16;
/// Maximum number of earlier files that are still checked for new lines, in case a process still writes to them.
const READ_ON: usize = 4;

/// The policy for a followed file that was replaced or cut while its former content is not in the same folder: unread
/// lines may be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LostFile {
    /// Stop the job with an error that says what was read.
    #[default]
    Stop,
    /// Read the file of this name from its beginning. This is logged and counted in `lost_files`.
    ReadOn,
}

/// The settings and counters of a source that follows files.
#[derive(Clone)]
pub(super) struct Following {
    pub(super) idle_after: Duration,
    pub(super) lost: LostFile,
    pub(super) lost_files: Counter,
    pub(super) rotations: Counter,
}

/// One followed file.
pub(super) struct Followed {
    path: PathBuf,
    format: Format,
    following: Following,
    /// The file that is being read; `None` while the next file is awaited.
    current: Option<Generation>,
    /// The files that were read before the current one. A process that has one open may still write to it.
    before: Vec<Generation>,
    /// Files that had the name when it was checked, to be read after the current one. They are kept open, because
    /// such a file may lose its name before anything is in it.
    pending: Vec<Handle>,
    /// Files that were rotated away by then are older than the current one.
    after: Newest,
    /// Files that were read before.
    known: Vec<FileId>,
    /// The attributes of the named file at the last check that found nothing to read.
    looked: Option<Stamp>,
    /// The time of the last change of the folder when it was last searched for the next file.
    searched: Option<i64>,
    /// The time of the last change of the folder when it was last searched for an earlier file.
    looked_back: Option<i64>,
    /// Whether the current file has no name any more.
    is_deleted: bool,
    is_missing: bool,
    pub(super) watermark: EventTime,
    quiet_since: Option<Arrival>,
    at_end: bool,
    idle: bool,
}

impl Followed {
    pub(super) fn open(path: &Path, following: Following, restored: Option<Merged>) -> Result<Self, ConnectorError> {
        let (format, compression) = format_of(path)?;
        if compression != Compression::None || format == Format::Parquet {
            return Err(invalid(path, "only plain CSV and JSON lines can be followed as they grow"));
        }
        let mut file = Self {
            path: path.to_owned(),
            format,
            following,
            current: None,
            before: Vec::new(),
            pending: Vec::new(),
            after: Newest::default(),
            known: Vec::new(),
            looked: None,
            searched: None,
            looked_back: None,
            is_deleted: false,
            is_missing: false,
            watermark: EventTime::MIN,
            quiet_since: None,
            at_end: false,
            idle: false,
        };
        match restored {
            Some(restored) => file.restore(restored)?,
            None => {
                let handle = Handle::open(path).map_err(|e| cannot_read(path, e))?;
                file.begin(handle, Compression::None)?;
            }
        }
        Ok(file)
    }

    fn generation(&self, handle: Handle, compression: Compression, begin: Begin) -> Result<Generation, ConnectorError> {
        Generation::new(&self.path, handle, (self.format, compression), begin)
    }

    fn cannot_read(&self, cause: io::Error) -> ConnectorError {
        cannot_read(&self.path, cause)
    }

    /// Reads the next piece. Returns whether there was one.
    pub(super) fn read<L: DeserializeOwned>(
        &mut self,
        found: &mut Vec<Result<L, Malformed>>,
        now: Arrival,
    ) -> Result<bool, ConnectorError> {
        self.quiet_since.get_or_insert(now);
        let read = self.look(found, now)?;
        if read {
            self.quiet_since = Some(now);
        }
        self.at_end = !read;
        // Only reading shows that nothing came: lines that arrived since the last read are pending, however long ago
        // that was.
        self.idle = self.at_end && self.is_quiet(now);
        Ok(read)
    }

    fn look<L: DeserializeOwned>(
        &mut self,
        found: &mut Vec<Result<L, Malformed>>,
        now: Arrival,
    ) -> Result<bool, ConnectorError> {
        loop {
            let stamp = self.stamp()?;
            if stamp.is_some() && stamp == self.looked {
                return self.read_before(found, now);
            }
            self.looked = None;
            let is_new = self.current.as_ref().is_some_and(|current| current.offset() == 0);
            // The earlier files go first: their copies are then known, and are not taken for other files.
            if is_new && self.read_before(found, now)? {
                return Ok(true);
            }
            if is_new && self.read_earlier(stamp)? {
                continue;
            }
            match self.read_current(found)? {
                Outcome::Lines => return Ok(true),
                Outcome::Changed => {
                    self.go_on_with_copy()?;
                    continue;
                }
                Outcome::Nothing => {}
            }
            if stamp.is_some_and(|stamp| self.current.as_ref().is_some_and(|current| stamp.id == current.id())) {
                self.looked = stamp;
                return self.read_before(found, now);
            }
            if self.read_before(found, now)? {
                return Ok(true);
            }
            let Some(next) = self.next(stamp).map_err(|e| self.cannot_read(e))? else {
                return self.wait_for_next(stamp, found, now);
            };
            // The writer has moved on to another file, so everything it wrote to this one is visible by now.
            match self.read_current(found)? {
                Outcome::Lines => return Ok(true),
                Outcome::Changed => self.go_on_with_copy()?,
                Outcome::Nothing => {
                    if self.read_before(found, now)? {
                        return Ok(true);
                    }
                    self.move_on(next)?;
                }
            }
        }
    }

    fn read_current<L: DeserializeOwned>(
        &mut self,
        found: &mut Vec<Result<L, Malformed>>,
    ) -> Result<Outcome, ConnectorError> {
        let Some(current) = &mut self.current else { return Ok(Outcome::Nothing) };
        let outcome = current.read(found)?;
        if outcome == Outcome::Nothing && current.is_compressed() && current.has_open_line() {
            // A compressed copy does not grow, so its last line is whole without a line end.
            current.take_open_line();
            return current.read(found);
        }
        Ok(outcome)
    }

    /// Handles the case that there is no next file yet. If the current file was deleted and has been quiet, its last
    /// line is taken without a line end.
    fn wait_for_next<L: DeserializeOwned>(
        &mut self,
        stamp: Option<Stamp>,
        found: &mut Vec<Result<L, Malformed>>,
        now: Arrival,
    ) -> Result<bool, ConnectorError> {
        let is_quiet = self.is_quiet(now);
        if let Some(current) = self.current.as_mut().filter(|_| stamp.is_none()) {
            self.is_deleted = current.is_deleted();
            if self.is_deleted && is_quiet && current.has_open_line() {
                current.take_open_line();
                return Ok(current.read(found)? == Outcome::Lines);
            }
        }
        self.read_before(found, now)
    }

    /// Returns the attributes of the file that has the name now. Warns once when there is none.
    fn stamp(&mut self) -> Result<Option<Stamp>, ConnectorError> {
        let stamp = Stamp::of_path(&self.path).map_err(|e| self.cannot_read(e))?;
        if stamp.is_none() && !self.is_missing {
            tracing::warn!(path = %self.path.display(), "a followed file is gone: its content is read to the end, and the next file is awaited");
        }
        self.is_missing = stamp.is_none();
        Ok(stamp)
    }

    /// Reads lines that were written to an earlier file after it was left. Returns whether there were any.
    fn read_before<L: DeserializeOwned>(
        &mut self,
        found: &mut Vec<Result<L, Malformed>>,
        now: Arrival,
    ) -> Result<bool, ConnectorError> {
        let is_quiet = self.is_quiet(now);
        for mut before in std::mem::take(&mut self.before) {
            if !found.is_empty() {
                // One call reads lines of one file only.
                self.before.push(before);
                continue;
            }
            let mut outcome = before.read(found)?;
            let is_over = outcome == Outcome::Nothing && (before.is_compressed() || before.is_deleted());
            if outcome == Outcome::Nothing && before.has_open_line() && (is_over || is_quiet) {
                before.take_open_line();
                outcome = before.read(found)?;
            }
            match outcome {
                Outcome::Nothing if is_over && before.is_compressed() => {}
                Outcome::Nothing if !is_over => self.before.push(before),
                Outcome::Lines => self.before.push(before),
                _ => {
                    let copy = self.copy_of_before(&before)?;
                    self.before.extend(copy);
                }
            }
        }
        Ok(!found.is_empty())
    }

    /// Opens the copy of an earlier file that is gone. The file had been read to its end, but its copy may have lines
    /// that were written just before it was compressed. The copy is remembered, so that it is not taken for another
    /// file.
    fn copy_of_before(&mut self, before: &Generation) -> Result<Option<Generation>, ConnectorError> {
        let (place, begin) = (before.place(), before.begin());
        let failed = |e| cannot_read(&self.path, e);
        let Some(identity) = place.identity else { return Ok(None) };
        let Some(copy) = siblings::copy_of(&self.path, &identity, begin.offset()).map_err(failed)? else {
            return Ok(None);
        };
        let handle = Handle::open(&copy.path).map_err(failed)?;
        self.known.push(handle.id());
        self.generation(handle, copy.compression(), begin).map(Some)
    }

    fn is_quiet(&self, now: Arrival) -> bool {
        let since = self.quiet_since.unwrap_or(now);
        u128::from(now.0.saturating_sub(since.0)) >= self.following.idle_after.as_micros()
    }

    /// Returns the watermark of this file, if the source's watermark has to wait for it: `None` while the file is idle.
    pub(super) fn holds(&self) -> Option<EventTime> {
        (!self.idle).then_some(self.watermark)
    }

    /// Returns whether the last read found nothing.
    pub(super) fn is_at_end(&self) -> bool {
        self.at_end
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn is_read_and_deleted(&self, current: &Generation) -> bool {
        self.is_deleted && current.is_all_read()
    }

    pub(super) fn position(&self) -> FilePosition {
        // A file that is deleted and read to its end cannot be found after a restore, and is not needed.
        let current = self.current.as_ref().filter(|file| !(self.at_end && self.is_read_and_deleted(file)));
        FilePosition {
            path: name(&self.path),
            place: current.map(Generation::place).unwrap_or_default(),
            watermark: self.watermark.0,
            finished: false,
            followed: Some(FollowedPosition {
                waits: current.is_none(),
                quiet_since: self.quiet_since.map(|since| since.0),
                after: self.after,
                pending: self.pending.iter().map(Handle::id).collect(),
                before: self.before.iter().map(Generation::place).collect(),
                known: self.known.clone(),
            }),
        }
    }
}
