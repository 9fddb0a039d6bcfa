//! A file of lines, in chunks of bytes.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tidemill_engine::ConnectorError;

use super::bytes::{Bytes, CHUNK};
use super::content::{Malformed, Partials, Read, cannot_read, invalid, unreadable};
use super::format::{Compression, Format, LineParser};
use super::handle::Handle;

/// Bytes of first lines.
const FIRST: u64 = 4096;

/// One file as one worker reads it.
pub(crate) struct LineFile {
    path: PathBuf,
    bytes: Bytes,
    parser: LineParser,
    follow: bool,
    takes_open_line: bool,
    /// Bytes of the header line.
    header: u64,
    /// Whether it ends with a newline.
    is_header_whole: bool,
    /// Of the chunk at hand: how much of it was read.
    partial: u64,
    /// What old workers had read of their chunks.
    inherited: Partials,
    /// The lines of the chunk at hand.
    lines: Vec<u8>,
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
        let mut bytes = Bytes::of(handle, compression).map_err(|e| cannot_read(path, e))?;
        let (parser, header, is_header_whole) = match format {
            Format::Csv => read_header::<L>(path, &mut bytes)?,
            _ => (LineParser::JsonLines, 0, true),
        };
        let path = path.to_owned();
        let lines = Vec::new();
        let takes_open_line = false;
        let mut file = Self {
            path,
            bytes,
            parser,
            follow,
            takes_open_line,
            header,
            is_header_whole,
            partial: 0,
            inherited,
            lines,
        };
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

    /// The first lines, or as many as could be decoded.
    pub(crate) fn first<L: DeserializeOwned>(&mut self) -> Result<Vec<L>, ConnectorError> {
        let mut text = Vec::new();
        self.bytes.range(0, self.header + FIRST, &mut text).map_err(|e| cannot_read(&self.path, e))?;
        let is_all = (text.len() as u64) < self.header + FIRST;
        let end = if is_all { text.len() } else { memchr::memrchr(b'\n', &text).map_or(0, |newline| newline + 1) };
        let mut lines = Vec::new();
        let text = text.get(self.header as usize..end).unwrap_or_default();
        self.parser.parse::<L>(text, |_, line| lines.extend(line.ok()));
        Ok(lines)
    }

    /// From now on what has no newline yet is a line, too: nobody will write its rest.
    pub(crate) fn take_open_line(&mut self) {
        self.takes_open_line = true;
    }

    /// What shows of the piece read last that the file was cut: nothing does where each line is whole or nothing (JSON).
    pub(crate) fn cut(&self) -> Option<&'static str> {
        match self.parser {
            LineParser::JsonLines => None,
            LineParser::Csv(_) if self.header == 0 => Some("it has no header line"),
            LineParser::Csv(_) if !self.is_header_whole => Some("its header line does not end with a newline"),
            LineParser::Csv(_) => {
                let is_open = self.lines.last().is_some_and(|byte| *byte != b'\n');
                is_open.then_some("its last line does not end with a newline")
            }
        }
    }

    pub(crate) fn read<L: DeserializeOwned>(
        &mut self,
        chunk: u64,
        mut found: impl FnMut(Result<L, Malformed>),
    ) -> Result<Read, ConnectorError> {
        let skip = if chunk == 0 { self.partial.max(self.header) } else { self.partial };
        let damaged = |path: &Path, e| {
            let what = format!("reading failed near byte {}, decompressed: is it cut off or damaged?", chunk * CHUNK);
            unreadable(path, &what, e)
        };
        let chunk_read = self.bytes.chunk(chunk, skip, &mut self.lines).map_err(|e| damaged(&self.path, e))?;
        let Some(lines) = chunk_read else {
            self.lines.clear();
            return Ok(Read::Nothing);
        };
        if self.follow && lines.last {
            // The last line may still be written: it is read once its newline is there.
            let whole = match self.takes_open_line {
                true => self.lines.len(),
                false => memchr::memrchr(b'\n', &self.lines).map_or(0, |newline| newline + 1),
            };
            self.lines.truncate(whole);
            if whole == 0 {
                return Ok(Read::Nothing);
            }
        }
        let mut bad = Vec::new();
        self.parser.parse::<L>(&self.lines, |offset, line| match line {
            Ok(line) => found(Ok(line)),
            Err(reason) => bad.push((offset, reason)),
        });
        for (offset, reason) in bad {
            let number = self.bytes.line_number(lines.offset + offset).map_err(|e| damaged(&self.path, e))?;
            let rest = &self.lines[offset as usize..];
            let content = rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())].to_vec();
            found(Err(Malformed { number, reason, content }));
        }
        if self.follow && lines.last {
            self.partial = lines.offset + self.lines.len() as u64 - chunk * CHUNK;
            return Ok(Read::Part);
        }
        Ok(Read::Whole { last: lines.last })
    }
}

/// The parser, the bytes of the header line, whether it ends with a newline.
fn read_header<L: DeserializeOwned>(path: &Path, bytes: &mut Bytes) -> Result<(LineParser, u64, bool), ConnectorError> {
    let mut first = Vec::new();
    bytes.chunk(0, 0, &mut first).map_err(|e| unreadable(path, "its first bytes cannot be read", e))?;
    let header = memchr::memchr(b'\n', &first).map_or(first.len(), |newline| newline + 1);
    let text = first[..header].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first[..header]);
    let parser = LineParser::csv::<L>(text).map_err(|e| unreadable(path, "its header line cannot be read", e))?;
    // A column that is missing is missing in every line: say so before the job starts.
    let mut missing = None;
    let second = memchr::memchr(b'\n', &first[header..]).map_or(first.len(), |newline| header + newline + 1);
    parser.parse::<L>(&first[header..second], |_, line| missing = line.err().filter(|e| e.contains("missing field")));
    match missing {
        Some(reason) => Err(invalid(
            path,
            &format!("the header \"{}\" does not fit: {reason}", String::from_utf8_lossy(text).trim_end()),
        )),
        None => Ok((parser, header as u64, first[..header].ends_with(b"\n"))),
    }
}
