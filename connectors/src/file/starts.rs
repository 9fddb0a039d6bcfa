//! Finds where the first record of a chunk begins, when a record of an earlier chunk may reach into it.
//!
//! Usually the lines themselves show that no record reaches into the chunk. Otherwise reading goes back to a line
//! that is sure to begin a record, and forward from there, record by record. A compressed file cannot be read
//! backwards, so every chunk of it is examined in turn.

use std::io;

use super::bytes::{Bytes, Sizes};
use super::quotes::{line_end, next_record, reaches_into};

/// What is known of where the records of a file begin.
pub(super) struct Starts {
    sizes: Sizes,
    /// Number of fields of a record.
    width: usize,
    /// A chunk and the offset of the first record that begins in it; `None` once a line longer than a record can be
    /// has followed.
    known: Option<(u64, u64)>,
    /// All chunks below this one were examined. It is used for compressed files.
    looked: u64,
    /// Number of bytes in which no line has begun.
    silent: u64,
}

impl Starts {
    /// Returns what is known at first of a file whose first record begins at `header`.
    pub(super) fn new(sizes: Sizes, width: usize, header: u64) -> Self {
        Self { sizes, width, known: Some((0, header)), looked: 1, silent: 0 }
    }

    /// Notes that the first record of the chunk begins at `offset`.
    pub(super) fn learn(&mut self, chunk: u64, offset: u64) {
        (self.known, self.looked, self.silent) = (Some((chunk, offset)), chunk + 1, 0);
    }

    /// Notes that no line begins in the chunk.
    pub(super) fn learn_none(&mut self, chunk: u64) {
        self.looked = chunk + 1;
        self.silent += self.sizes.chunk;
        if self.silent >= self.sizes.record as u64 {
            self.known = None;
        }
    }

    /// Examines the chunks before `chunk` of a compressed file, which other workers read, and releases bytes that are
    /// not needed any more.
    pub(super) fn pass(&mut self, bytes: &mut Bytes, chunk: u64) -> io::Result<()> {
        while bytes.is_stream() && self.looked < chunk {
            self.forget(bytes, self.looked)?;
            self.first(bytes, self.looked)?;
        }
        self.forget(bytes, chunk)
    }

    fn forget(&self, bytes: &mut Bytes, chunk: u64) -> io::Result<()> {
        let begin = (chunk * self.sizes.chunk).saturating_sub(1);
        let known = self.known.map_or(begin, |(_, offset)| offset.saturating_sub(1));
        bytes.forget(begin.min(known))
    }

    /// Returns the offset of the first record that begins in the chunk, if one does. The chunk must come after those
    /// of earlier calls.
    pub(super) fn first(&mut self, bytes: &mut Bytes, chunk: u64) -> io::Result<Option<u64>> {
        let Some(line) = self.first_line(bytes, chunk)? else {
            self.learn_none(chunk);
            return Ok(None);
        };
        if !self.may_reach(bytes, line)? {
            self.learn(chunk, line);
            return Ok(Some(line));
        }
        let begin = chunk * self.sizes.chunk;
        let from = match self.known {
            None if bytes.is_stream() => line,
            Some((_, known)) if bytes.is_stream() => known,
            known => self.sure_line_before(bytes, known, chunk, line)?,
        };
        let mut records = Vec::new();
        let ahead = self.sizes.chunk + self.sizes.record as u64 + 2;
        bytes.range(from, begin + ahead, &mut records)?;
        let first =
            from + next_record(&records, begin.saturating_sub(from) as usize, self.width, self.sizes.record) as u64;
        if first >= begin + self.sizes.chunk {
            (self.looked, self.silent) = (chunk + 1, 0);
            return Ok(None);
        }
        self.learn(chunk, first);
        Ok(Some(first))
    }

    /// Returns the offset of a line before `chunk` that is sure to begin a record. Only the first line of each chunk
    /// is tried.
    fn sure_line_before(
        &self,
        bytes: &mut Bytes,
        known: Option<(u64, u64)>,
        chunk: u64,
        mut above: u64,
    ) -> io::Result<u64> {
        let mut silent = 0;
        for chunk in (0..chunk).rev() {
            if let Some((_, offset)) = known.filter(|(known, _)| *known == chunk) {
                return Ok(offset);
            }
            match self.first_line(bytes, chunk)? {
                Some(line) if !self.may_reach(bytes, line)? => return Ok(line),
                Some(line) => (above, silent) = (line, 0),
                None => silent += self.sizes.chunk,
            }
            if silent >= self.sizes.record as u64 {
                return Ok(above);
            }
        }
        Ok(above)
    }

    /// Returns the offset of the first line that begins in a chunk.
    fn first_line(&self, bytes: &mut Bytes, chunk: u64) -> io::Result<Option<u64>> {
        let (begin, mut lines) = (chunk * self.sizes.chunk, Vec::new());
        let lead = u64::from(begin > 0);
        // Usually a few bytes are enough.
        for len in [self.sizes.chunk.min(1024), self.sizes.chunk] {
            lines.clear();
            bytes.range(begin - lead, begin + len, &mut lines)?;
            let line = if lead == 0 { Some(0) } else { line_end(&lines) };
            if let Some(line) = line.filter(|line| *line < lines.len()) {
                return Ok(Some(begin - lead + line as u64));
            }
        }
        Ok(None)
    }

    /// Returns whether a record that began before `offset` may reach into the lines from there on.
    fn may_reach(&self, bytes: &mut Bytes, offset: u64) -> io::Result<bool> {
        let mut lines = Vec::new();
        bytes.range(offset, offset + self.sizes.record as u64 + 2, &mut lines)?;
        Ok(reaches_into(&lines, self.sizes.record).unwrap_or(false))
    }
}
