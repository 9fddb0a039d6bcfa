//! Where the first record of a chunk begins, when a record of an earlier chunk may reach into it.
//!
//! Mostly the lines themselves show that none does. Else reading goes back to a line of which that is sure, and forward from
//! there, record by record. A compressed file cannot go back: there each chunk is looked at in turn.

use std::io;

use super::bytes::{Bytes, Sizes};
use super::quotes::{line_end, next_record, reaches_into};

/// What is known of the records of a file.
pub(super) struct Starts {
    sizes: Sizes,
    /// Fields of a record.
    width: usize,
    /// A chunk and the first record that begins in it; none where what came then was one line longer than a record can be.
    known: Option<(u64, u64)>,
    /// All chunks below were looked at (compressed files).
    looked: u64,
    /// For how many bytes no line has begun.
    silent: u64,
}

impl Starts {
    /// Of a file whose first record begins at `header`.
    pub(super) fn new(sizes: Sizes, width: usize, header: u64) -> Self {
        Self { sizes, width, known: Some((0, header)), looked: 1, silent: 0 }
    }

    /// The chunk's first record begins at `offset`.
    pub(super) fn learn(&mut self, chunk: u64, offset: u64) {
        (self.known, self.looked, self.silent) = (Some((chunk, offset)), chunk + 1, 0);
    }

    /// No line begins in the chunk.
    pub(super) fn learn_none(&mut self, chunk: u64) {
        self.looked = chunk + 1;
        self.silent += self.sizes.chunk;
        if self.silent >= self.sizes.record as u64 {
            self.known = None;
        }
    }

    /// Looks at the chunks of a compressed file that other workers read.
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

    /// The first record that begins in a chunk behind all that was asked for, if one does.
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

    /// The last line before `chunk` that is sure to begin a record, as far as one line of each chunk tells.
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

    /// The first line that begins in a chunk.
    fn first_line(&self, bytes: &mut Bytes, chunk: u64) -> io::Result<Option<u64>> {
        let (begin, mut lines) = (chunk * self.sizes.chunk, Vec::new());
        let lead = u64::from(begin > 0);
        // Mostly a few bytes are enough.
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

    /// Whether a record that began before may reach into the lines from `offset` on.
    fn may_reach(&self, bytes: &mut Bytes, offset: u64) -> io::Result<bool> {
        let mut lines = Vec::new();
        bytes.range(offset, offset + self.sizes.record as u64 + 2, &mut lines)?;
        Ok(reaches_into(&lines, self.sizes.record).unwrap_or(false))
    }
}
