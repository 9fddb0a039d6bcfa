//! The reader of a file of lines (CSV or JSON lines), in chunks of bytes.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tidemill_engine::ConnectorError;

use super::bytes::{Bytes, Lines, Sizes};
use super::csv::CsvParser;
use super::error::{cannot_read, invalid, unreadable};
use super::format::{BYTE_ORDER_MARK, Compression, Format, LineParser, not_text};
use super::handle::Handle;
use super::json::JsonParser;
use super::piece::{Malformed, Partials, Piece, Read};
use super::quotes::{first_line, line_end, open_line, reaches_into, without_end};
use super::starts::Starts;

/// Number of bytes after the header that are read for the first lines.
const FIRST: u64 = 4096;

/// One file of lines, as one worker reads it.
pub(crate) struct LineFile {
    path: PathBuf,
    bytes: Bytes,
    sizes: Sizes,
    format: Format,
    follow: bool,
    /// Whether text at the end of the file without a line end is a line, too.
    takes_open_line: bool,
    /// What the beginning of the file says; `None` while a followed file has no whole first line.
    layout: Option<LinesLayout>,
    /// Number of bytes of the current chunk that were read.
    partial: u64,
    /// Number of bytes that the workers of the restored run had read of their unfinished chunks, by chunk.
    inherited: Partials,
    /// The lines of the current chunk, with the text around them that is needed to find record boundaries.
    lines: Vec<u8>,
    /// Whether the last of these lines has no line end.
    is_open: bool,
}

/// What the beginning of a file says.
struct LinesLayout {
    parser: LineParser,
    /// Number of bytes before the first record.
    header: u64,
    /// Whether the header line has a line end.
    is_header_whole: bool,
    /// Finds where records begin, if they may contain newlines.
    starts: Option<Starts>,
}

impl LineFile {
    pub(crate) fn open<L: DeserializeOwned>(
        path: &Path,
        handle: Handle,
        (format, compression): (Format, Compression),
        follow: bool,
        next: u64,
        inherited: Partials,
    ) -> Result<Self, ConnectorError> {
        Self::open_in::<L>(Sizes::OF_FILES, path, handle, (format, compression), follow, next, inherited)
    }

    fn open_in<L: DeserializeOwned>(
        sizes: Sizes,
        path: &Path,
        handle: Handle,
        (format, compression): (Format, Compression),
        follow: bool,
        next: u64,
        inherited: Partials,
    ) -> Result<Self, ConnectorError> {
        let mut file = Self {
            path: path.to_owned(),
            bytes: Bytes::of(handle, compression).map_err(|e| cannot_read(path, e))?,
            sizes,
            format,
            follow,
            takes_open_line: false,
            layout: None,
            partial: 0,
            inherited,
            lines: Vec::new(),
            is_open: false,
        };
        file.layout = file.read_begin::<L>()?;
        file.begin(next);
        Ok(file)
    }

    pub(crate) fn begin(&mut self, chunk: u64) {
        let of_chunk = self.inherited.iter().filter(|(k, _)| *k == chunk);
        self.partial = of_chunk.map(|(_, read)| *read).max().unwrap_or(0);
    }

    pub(crate) fn partials(&self, next: u64) -> Partials {
        let mut partials: Partials = self.inherited.iter().filter(|(k, _)| *k > next).copied().collect();
        partials.push((next, self.partial));
        partials
    }

    /// Returns those of the first lines that can be decoded.
    pub(crate) fn first<L: DeserializeOwned>(&mut self) -> Result<Vec<L>, ConnectorError> {
        let Some(layout) = &mut self.layout else { return Ok(Vec::new()) };
        let wanted = layout.header + FIRST;
        let mut text = Vec::new();
        self.bytes.range(0, wanted, &mut text).map_err(|e| cannot_read(&self.path, e))?;
        let mark = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let begin = mark.max(layout.header as usize);
        let end = if (text.len() as u64) < wanted { text.len() } else { open_line(&text) };
        let own = begin.min(end)..end;
        let piece = Piece { bytes: &text, own, record: self.sizes.record, joins: layout.starts.is_some() };
        let mut lines = Vec::new();
        layout.parser.parse::<L>(&piece, |_, line| lines.extend(line.ok()));
        Ok(lines)
    }

    /// From now on, takes text without a line end as a line, too: its rest will not be written any more.
    pub(crate) fn take_open_line(&mut self) {
        self.takes_open_line = true;
    }

    /// Returns what shows, in the piece read last, that the file was cut. `None` for JSON lines: a part of a JSON
    /// value does not decode.
    pub(crate) fn cut(&self) -> Option<&'static str> {
        if self.format != Format::Csv {
            return None;
        }
        match &self.layout {
            None | Some(LinesLayout { header: 0, .. }) => Some("it has no header line"),
            Some(LinesLayout { is_header_whole: false, .. }) => Some("its header line does not end with a newline"),
            Some(_) => self.is_open.then_some("its last line does not end with a newline"),
        }
    }

    pub(crate) fn read<L: DeserializeOwned>(
        &mut self,
        chunk: u64,
        found: impl FnMut(Result<L, Malformed>),
    ) -> Result<Read, ConnectorError> {
        if self.layout.is_none() {
            self.layout = self.read_begin::<L>()?;
        }
        let Some(lines) = self.read_lines(chunk).map_err(|e| self.damaged(chunk, e))? else {
            return Ok(Read::Nothing);
        };
        let (is_last, read) = (lines.last, lines.offset + self.lines.len() as u64);
        let own = self.own_lines(chunk, &lines).map_err(|e| self.damaged(chunk, e))?;
        if self.follow && is_last && own.is_empty() {
            return Ok(Read::Nothing);
        }
        self.hand_out(chunk, own, lines, found)?;
        if self.follow && is_last {
            self.partial = read - chunk * self.sizes.chunk;
            return Ok(Read::Part);
        }
        Ok(Read::Whole { last: is_last })
    }

    /// Reads the lines that begin in the chunk, and updates what is known of records that reach into it. Returns
    /// `None` when the file ends before the chunk or has no first line yet.
    fn read_lines(&mut self, chunk: u64) -> io::Result<Option<Lines>> {
        self.lines.clear();
        self.is_open = false;
        let Some(layout) = &mut self.layout else { return Ok(None) };
        let skip = if chunk == 0 { self.partial.max(layout.header) } else { self.partial };
        let begin = chunk * self.sizes.chunk + skip;
        match &mut layout.starts {
            Some(starts) => starts.pass(&mut self.bytes, chunk)?,
            // Reading looks for a quote before the lines, as far back as a record can be long.
            None => self.bytes.forget(begin.saturating_sub(1 + self.sizes.record as u64))?,
        }
        let Some(lines) = self.bytes.chunk(self.sizes, chunk, skip, &mut self.lines)? else { return Ok(None) };
        self.is_open = open_line(&self.lines) < self.lines.len();
        if self.follow && lines.last && !self.takes_open_line {
            // The last line may still be being written: it is read once it has a line end.
            self.lines.truncate(open_line(&self.lines));
        }
        Ok(Some(lines))
    }

    /// Returns the range of the lines that no earlier record reaches into. Adds the text before or after them that
    /// the parser needs to see where records end.
    fn own_lines(&mut self, chunk: u64, lines: &Lines) -> io::Result<Range<usize>> {
        let Some(layout) = &mut self.layout else { return Ok(0..0) };
        let all = 0..self.lines.len();
        if self.format != Format::Csv {
            let is_marked = lines.offset == 0 && self.lines.starts_with(BYTE_ORDER_MARK);
            return Ok(if is_marked { BYTE_ORDER_MARK.len()..all.end } else { all });
        }
        let (record, quoted) = (self.sizes.record as u64, memchr::memchr(b'"', &self.lines).is_some());
        let Some(starts) = &mut layout.starts else {
            if !quoted {
                return Ok(all);
            }
            let mut before = Vec::new();
            let from = lines.offset.saturating_sub(record).max(layout.header).min(lines.offset);
            self.bytes.range(from, lines.offset, &mut before)?;
            let own = before.len()..before.len() + all.end;
            self.lines.splice(..0, before);
            return Ok(own);
        };
        let begins_chunk = chunk > 0 && self.partial == 0;
        let is_sure = !begins_chunk || !quoted && self.sizes.chunk >= record;
        let mut first = Some(lines.offset);
        if all.is_empty() && lines.too_long.is_none() {
            starts.learn_none(chunk);
        } else if is_sure || reaches_into(&self.lines, self.sizes.record) == Some(false) {
            starts.learn(chunk, lines.offset);
        } else {
            first = starts.first(&mut self.bytes, chunk)?;
        }
        if quoted && !lines.last {
            let end = lines.offset + all.end as u64;
            self.bytes.range(end, end + record + 2, &mut self.lines)?;
        }
        let passed = first.map_or(all.end, |first| (first - lines.offset) as usize).min(all.end);
        Ok(passed..all.end)
    }

    fn hand_out<L: DeserializeOwned>(
        &mut self,
        chunk: u64,
        own: Range<usize>,
        lines: Lines,
        mut found: impl FnMut(Result<L, Malformed>),
    ) -> Result<(), ConnectorError> {
        let Some(layout) = &mut self.layout else { return Ok(()) };
        let before = if layout.starts.is_none() { own.start } else { 0 };
        let joins = layout.starts.is_some();
        let piece = Piece { bytes: &self.lines, own, record: self.sizes.record, joins };
        let mut bad = Vec::new();
        layout.parser.parse::<L>(&piece, |range, line| match line {
            Ok(line) => found(Ok(line)),
            Err(reason) => {
                let content = without_end(&self.lines[range.clone()]).to_vec();
                bad.push((lines.offset + (range.start - before) as u64, reason, content));
            }
        });
        bad.extend(lines.too_long.map(|(offset, begin)| {
            (offset, format!("it has more than {} bytes: is this a file of lines?", self.sizes.line), begin)
        }));
        for (offset, reason, content) in bad {
            let number = self.bytes.line_number(offset).map_err(|e| self.damaged(chunk, e))?;
            found(Err(Malformed { number, reason, content }));
        }
        Ok(())
    }

    fn damaged(&self, chunk: u64, e: io::Error) -> ConnectorError {
        let at = chunk * self.sizes.chunk;
        let what = format!("reading failed near byte {at}, decompressed: is it cut off or damaged?");
        unreadable(&self.path, &what, e)
    }

    /// Reads the beginning of the file. Returns `None` when the file is followed and its first line is not whole yet.
    fn read_begin<L: DeserializeOwned>(&mut self) -> Result<Option<LinesLayout>, ConnectorError> {
        let unreadable = |e| unreadable(&self.path, "its first bytes cannot be read", e);
        let mut first = Vec::new();
        let lines = self.bytes.chunk(self.sizes, 0, 0, &mut first).map_err(unreadable)?;
        let too_long = lines.and_then(|lines| lines.too_long).filter(|_| first.is_empty());
        let is_too_long = too_long.is_some();
        first.extend(too_long.into_iter().flat_map(|(_, begin)| begin));
        if let Some(what) = not_text(&first) {
            return Err(invalid(&self.path, what));
        }
        let is_whole = line_end(&first).is_some();
        if self.follow && !self.takes_open_line && !is_whole && !is_too_long {
            return Ok(None);
        }
        if self.format == Format::JsonLines {
            let (parser, starts) = (LineParser::JsonLines(JsonParser::default()), None);
            return Ok(Some(LinesLayout { parser, header: 0, is_header_whole: true, starts }));
        }
        let line = first_line(&first);
        let (header, text) = (line.len() as u64, line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line));
        if is_too_long || (!line.is_empty() && text.trim_ascii().is_empty()) {
            return Err(invalid(&self.path, "its first line, which should be the header, is empty or has no end"));
        }
        let mut parser = CsvParser::new::<L>(text).map_err(|what| invalid(&self.path, &what))?;
        let starts = (!self.follow).then(|| Starts::new(self.sizes, parser.width(), header));
        // A missing column is missing in every line, so it is refused before the job starts.
        let second = line.len()..line.len() + first_line(&first[line.len()..]).len();
        let mut missing = None;
        let piece = Piece { bytes: &first[..second.end], own: second, record: self.sizes.record, joins: false };
        parser.parse::<L>(&piece, |_, line| missing = line.err().filter(|e| e.contains("missing field")));
        if let Some(reason) = missing {
            let shown: String = String::from_utf8_lossy(text).trim_end().chars().take(1000).collect();
            return Err(invalid(&self.path, &format!("the header \"{shown}\" does not fit: {reason}")));
        }
        Ok(Some(LinesLayout { parser: LineParser::Csv(Box::new(parser)), header, is_header_whole: is_whole, starts }))
    }
}

#[cfg(test)]
mod tests;
