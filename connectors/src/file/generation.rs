//! One file that is followed as it grows, whatever its current name is.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tidemill_engine::ConnectorError;

use super::bytes::Sizes;
use super::error::cannot_read;
use super::format::{Compression, Format};
use super::handle::Handle;
use super::identity::Seen;
use super::lines::LineFile;
use super::piece::{Malformed, Partials, Read};
use super::position::Place;
use super::stamp::{FileId, Stamp};
use crate::splits::{Splits, SplitsPosition};

/// One file that is followed, from the moment it was found.
pub(super) struct Generation {
    /// The name under which the file is followed, for messages.
    path: PathBuf,
    handle: Handle,
    format: (Format, Compression),
    splits: Splits,
    /// The parts of pieces that were read, as long as `lines` is `None`.
    partials: Partials,
    /// The reader of the lines; `None` while the header line is not complete.
    lines: Option<LineFile>,
    takes_open_line: bool,
    /// Whether the last read found the end of the file, without an incomplete last line.
    is_all_read: bool,
    seen: Seen,
    stamp: Stamp,
}

/// The result of reading the next piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Lines,
    Nothing,
    /// The file no longer has the content that was read: it was cut or overwritten.
    Changed,
}

/// Where reading of a file begins.
#[derive(Clone, Default)]
pub(super) struct Begin {
    pub(super) done: Vec<SplitsPosition>,
    pub(super) partial: Partials,
}

impl Begin {
    /// Returns the offset up to which everything was read.
    pub(super) fn offset(&self) -> u64 {
        offset(&Splits::new(0, 1, &self.done), &self.partial)
    }
}

fn offset(splits: &Splits, partials: &Partials) -> u64 {
    let of_chunk = partials.iter().filter(|(chunk, _)| *chunk == splits.next()).map(|(_, read)| *read);
    splits.next() * Sizes::OF_FILES.chunk + of_chunk.max().unwrap_or(0)
}

impl Generation {
    pub(super) fn new(
        path: &Path,
        handle: Handle,
        format: (Format, Compression),
        begin: Begin,
    ) -> Result<Self, ConnectorError> {
        let splits = Splits::new(0, 1, &begin.done);
        let stamp = Stamp::of(&handle.metadata().map_err(|e| cannot_read(path, e))?);
        let mut seen = Seen::default();
        if format.1 == Compression::None {
            seen.extend(&handle, begin.offset()).map_err(|e| cannot_read(path, e))?;
        }
        Ok(Self {
            path: path.to_owned(),
            handle,
            format,
            splits,
            partials: begin.partial,
            lines: None,
            takes_open_line: false,
            is_all_read: false,
            seen,
            stamp,
        })
    }

    pub(super) fn id(&self) -> FileId {
        self.handle.id()
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns whether the file is compressed: then it is a copy that does not change any more.
    pub(super) fn is_compressed(&self) -> bool {
        self.format.1 != Compression::None
    }

    /// Returns the offset up to which everything was read.
    pub(super) fn offset(&self) -> u64 {
        offset(&self.splits, &self.partials())
    }

    fn partials(&self) -> Partials {
        self.lines.as_ref().map_or_else(|| self.partials.clone(), |lines| lines.partials(self.splits.next()))
    }

    pub(super) fn begin(&self) -> Begin {
        Begin { done: vec![self.splits.position()], partial: self.partials() }
    }

    pub(super) fn place(&self) -> Place {
        let identity = Some(self.seen.identity(self.stamp));
        Place { done: self.splits.position(), partial: self.partials(), identity, is_all_read: self.is_all_read }
    }

    /// Returns the attributes of the file at the last read.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns whether the file has no name any more. If that cannot be found out, it is assumed.
    pub(super) fn is_deleted(&self) -> bool {
        self.handle.metadata().map_or(true, |metadata| metadata.nlink() == 0)
    }

    /// Returns whether the last read found the end of the file, without an incomplete last line.
    pub(super) fn is_all_read(&self) -> bool {
        self.is_all_read
    }

    /// Returns whether a file that was read to its end may have text after its last line end.
    pub(super) fn has_open_line(&self) -> bool {
        !self.takes_open_line && (self.is_compressed() || !self.is_all_read)
    }

    /// From now on, takes text without a line end as a line, too.
    pub(super) fn take_open_line(&mut self) {
        self.takes_open_line = true;
        if let Some(lines) = &mut self.lines {
            lines.take_open_line();
        }
    }

    /// Reads the next piece. The file had the content read before both before and after this: otherwise the lines that
    /// were found are discarded.
    pub(super) fn read<L: DeserializeOwned>(
        &mut self,
        found: &mut Vec<Result<L, Malformed>>,
    ) -> Result<Outcome, ConnectorError> {
        let metadata = match self.handle.metadata() {
            Ok(metadata) => metadata,
            // The file was closed and has no name any more, so it cannot be opened again.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Changed),
            Err(e) => return Err(cannot_read(&self.path, e)),
        };
        let before = self.partials();
        let piece = self.splits.next();
        if self.lines.is_none() {
            self.open_lines::<L>()?;
        }
        let read = match &mut self.lines {
            Some(lines) => lines.read::<L>(piece, |line| found.push(line))?,
            None => Read::Nothing,
        };
        if !self.is_compressed() {
            let is_cut = metadata.len() < offset(&self.splits, &before);
            let is_unchanged = self.seen.is_still_in(&self.handle).map_err(|e| cannot_read(&self.path, e))?;
            if is_cut || !is_unchanged {
                found.clear();
                (self.lines, self.partials) = (None, before);
                return Ok(Outcome::Changed);
            }
        }
        self.stamp = Stamp::of(&metadata);
        self.is_all_read = read == Read::Nothing && self.ends_with_line(metadata.len())?;
        match read {
            Read::Nothing => {
                if self.offset() == 0 {
                    // As long as no line was emitted, the header may be replaced unnoticed, so it is read again.
                    self.lines = None;
                }
                return Ok(Outcome::Nothing);
            }
            Read::Part => {}
            Read::Whole { .. } => {
                self.splits.advance();
                if let Some(lines) = &mut self.lines {
                    lines.begin(self.splits.next());
                }
            }
        }
        if !self.is_compressed() {
            let offset = self.offset();
            self.seen.extend(&self.handle, offset).map_err(|e| cannot_read(&self.path, e))?;
        }
        Ok(Outcome::Lines)
    }

    /// Returns whether the last line of the file is complete, including a line that was read already.
    fn ends_with_line(&self, length: u64) -> Result<bool, ConnectorError> {
        if self.takes_open_line || length <= self.offset() || self.is_compressed() {
            return Ok(true);
        }
        let last = self.handle.bytes_at(length - 1, 1).map_err(|e| cannot_read(&self.path, e))?;
        Ok(last == b"\n" || last == b"\r")
    }

    /// Opens the reader of the lines, which checks again for the header if that is not complete yet.
    fn open_lines<L: DeserializeOwned>(&mut self) -> Result<(), ConnectorError> {
        let (next, partials) = (self.splits.next(), self.partials.clone());
        let mut lines = LineFile::open::<L>(&self.path, self.handle.clone(), self.format, true, next, partials)?;
        if self.takes_open_line {
            lines.take_open_line();
        }
        self.lines = Some(lines);
        Ok(())
    }
}
