//! Access to the bytes of a file by their offset, plain or decompressed, and the chunks in which lines are read.
//!
//! ```text
//! bytes   …│ chunk k-1 │ chunk k │ chunk k+1 │…        64 KiB each
//! lines   ──┴──┬────┬──┴───┬───┬─┴──┬──────            a line belongs to the chunk its first byte is in
//! ```
//! A plain file is read at any offset. A compressed one is decompressed from its beginning by every worker, and each
//! worker keeps only its own chunks: parsing costs more than decompression.

use std::io::{self, Read};
use std::path::Path;

use super::error::bug;
use super::format::Compression;
use super::gzip::Members;
use super::handle::Handle;
use super::quotes::{count_ends, line_end, open_line};

/// The sizes by which a file is divided. Positions count chunks, so the size of a chunk must not change between the
/// writing and the reading of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Size of a chunk, in bytes.
    pub(crate) chunk: u64,
    /// Size of the longest line that is read, in bytes.
    pub(crate) line: usize,
    /// Size of the longest CSV record with newlines in it, in bytes.
    pub(crate) record: usize,
}

impl Sizes {
    pub(crate) const OF_FILES: Self = Self { chunk: 64 << 10, line: 16 << 20, record: 64 << 10 };
}

/// Number of bytes that are kept of a line that is too long.
const KEPT: usize = 64 << 10;

/// The bytes of a file.
pub(crate) enum Bytes {
    Plain { file: Handle, counted: Counted },
    Stream(ByteStream),
}

/// The number of lines that end before an offset.
#[derive(Default)]
pub(crate) struct Counted {
    offset: u64,
    lines: u64,
    last: u8,
}

impl Counted {
    fn add(&mut self, bytes: &[u8]) {
        self.lines += count_ends(self.last, bytes);
        self.last = bytes.last().copied().unwrap_or(self.last);
        self.offset += bytes.len() as u64;
    }
}

pub(crate) struct ByteStream {
    decoder: Box<dyn Read>,
    /// Decompressed bytes, from the offset of `passed` on.
    window: Vec<u8>,
    passed: Counted,
    ended: bool,
}

/// The place of the lines of a chunk in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Offset of the first line.
    pub(crate) offset: u64,
    /// Whether the file ends with these lines.
    pub(crate) last: bool,
    /// The line after them, if it is too long: its offset and its first bytes.
    pub(crate) too_long: Option<(u64, Vec<u8>)>,
}

impl Bytes {
    pub(crate) fn open(path: &Path, compression: Compression) -> io::Result<Self> {
        Self::of(Handle::open(path)?, compression)
    }

    pub(crate) fn of(file: Handle, compression: Compression) -> io::Result<Self> {
        let decoder: Box<dyn Read> = match compression {
            Compression::None => return Ok(Self::Plain { file, counted: Counted::default() }),
            Compression::Gzip => Box::new(Members::new(file.reader())),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(file.reader())?),
        };
        Ok(Self::Stream(ByteStream { decoder, window: Vec::new(), passed: Counted::default(), ended: false }))
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Releases the bytes before `offset`, which are not read again.
    pub(crate) fn forget(&mut self, offset: u64) -> io::Result<()> {
        match self {
            Self::Plain { .. } => Ok(()),
            Self::Stream(stream) => stream.forget_before(offset),
        }
    }

    /// Appends the bytes `from..to` to `out`, or fewer at the end of the file.
    pub(crate) fn range(&mut self, from: u64, to: u64, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain { file, .. } => {
                let start = out.len();
                out.resize(start + (to - from) as usize, 0);
                let mut filled = start;
                while filled < out.len() {
                    match file.read_at(&mut out[filled..], from + (filled - start) as u64) {
                        Ok(0) => break,
                        Ok(n) => filled += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                out.truncate(filled);
                Ok(())
            }
            Self::Stream(stream) => stream.range(from, to, out),
        }
    }

    /// Reads the lines that begin in chunk `k`, at or after its byte `skip`, into `out`. Each has its line end,
    /// except perhaps the last line of the file. Returns `None` when the file ends before the chunk.
    pub(crate) fn chunk(&mut self, sizes: Sizes, k: u64, skip: u64, out: &mut Vec<u8>) -> io::Result<Option<Lines>> {
        out.clear();
        // One more byte in front shows whether a line begins at the first byte of the chunk.
        let (start, end) = (k * sizes.chunk + skip, (k + 1) * sizes.chunk);
        let lead = u64::from(start > 0);
        let first = start - lead;
        if start >= end {
            // The header is longer than the chunk.
            return Ok(Some(Lines { offset: end, last: false, too_long: None }));
        }
        self.range(first, end, out)?;
        if out.len() as u64 <= lead {
            return Ok(None);
        }
        let last = first + (out.len() as u64) < end;
        let begin = match lead {
            0 => 0,
            _ => line_end(out).unwrap_or(out.len()),
        };
        if begin == out.len() && !last {
            // The line that began earlier reaches beyond this chunk: no line begins in it.
            out.clear();
            return Ok(Some(Lines { offset: end, last: false, too_long: None }));
        }
        out.drain(..begin);
        let offset = first + begin as u64;
        let mut lines = Lines { offset, last, too_long: None };
        self.end_last_line(sizes, &mut lines, out)?;
        Ok(Some(lines))
    }

    /// Completes the last line, which may end in a later chunk. If it is too long, it is removed and reported in
    /// `lines`.
    fn end_last_line(&mut self, sizes: Sizes, lines: &mut Lines, out: &mut Vec<u8>) -> io::Result<()> {
        let begin = open_line(out);
        let mut step = 4096;
        while begin < out.len() && !lines.last && out.len() - begin <= sizes.line {
            let before = out.len();
            let at = lines.offset + before as u64;
            self.range(at, at + step, out)?;
            lines.last = ((out.len() - before) as u64) < step;
            if let Some(end) = line_end(&out[before..]) {
                lines.last = false;
                out.truncate(before + end);
                break;
            }
            step = (2 * step).min(1 << 20);
        }
        if out.len() - begin > sizes.line {
            let kept = out[begin..].iter().take(KEPT).copied().collect();
            lines.too_long = Some((lines.offset + begin as u64, kept));
            out.truncate(begin);
            out.shrink_to(1 << 20);
        }
        Ok(())
    }

    /// Returns the number of the line that begins at `offset`, from 1. In a plain file, lines are counted only when
    /// this is called.
    pub(crate) fn line_number(&mut self, offset: u64) -> io::Result<u64> {
        match self {
            Self::Stream(stream) => Ok(stream.lines_before(offset) + 1),
            Self::Plain { file, counted } => {
                if counted.offset > offset {
                    *counted = Counted::default();
                }
                let mut piece = vec![0; 1 << 18];
                while counted.offset < offset {
                    let len = piece.len().min((offset - counted.offset) as usize);
                    let read = file.read_at(&mut piece[..len], counted.offset)?;
                    if read == 0 {
                        break;
                    }
                    counted.add(&piece[..read]);
                }
                Ok(counted.lines + 1)
            }
        }
    }
}

impl ByteStream {
    /// Decompresses up to offset `to`, or to the end of the file.
    fn fill(&mut self, to: u64) -> io::Result<()> {
        while !self.ended && self.passed.offset + (self.window.len() as u64) < to {
            self.ended = self.decoder.by_ref().take(1 << 17).read_to_end(&mut self.window)? == 0;
        }
        Ok(())
    }

    fn forget_before(&mut self, offset: u64) -> io::Result<()> {
        while self.passed.offset < offset {
            let passed = ((offset - self.passed.offset) as usize).min(self.window.len());
            self.passed.add(&self.window[..passed]);
            self.window.drain(..passed);
            self.window.shrink_to(1 << 20);
            self.fill(self.passed.offset + 1)?;
            if self.window.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn range(&mut self, from: u64, to: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let base = self.passed.offset;
        let Some(start) = from.checked_sub(base) else {
            return Err(bug("a compressed file was read backwards"));
        };
        self.fill(to)?;
        let (start, end) = (start as usize, ((to - base) as usize).min(self.window.len()));
        out.extend_from_slice(self.window.get(start..end).unwrap_or_default());
        Ok(())
    }

    fn lines_before(&self, offset: u64) -> u64 {
        let len = (offset.saturating_sub(self.passed.offset) as usize).min(self.window.len());
        self.passed.lines + count_ends(self.passed.last, &self.window[..len])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn read_all(path: &Path, compression: Compression, workers: u64) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Vec::new();
        for worker in 0..workers {
            let mut bytes = Bytes::open(path, compression).unwrap();
            let (mut k, mut out) = (worker, Vec::new());
            while let Some(found) = bytes.chunk(Sizes::OF_FILES, k, 0, &mut out).unwrap() {
                bytes.forget((k * Sizes::OF_FILES.chunk).saturating_sub(1)).unwrap();
                let mut offset = found.offset;
                for line in out.split_inclusive(|b| *b == b'\n') {
                    lines.push((bytes.line_number(offset).unwrap(), line.to_vec()));
                    offset += line.len() as u64;
                }
                k += workers;
            }
        }
        lines.sort();
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Each line is read once and with its number, whatever the lengths of lines and the number of workers.
        #[test]
        fn every_line_comes_once(
            lengths in prop::collection::vec(prop_oneof![8 => 0..200usize, 1 => 60_000..140_000usize], 0..400),
            final_newline: bool,
            workers in 1..5u64,
            compression in prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)],
        ) {
            let mut text: Vec<u8> = Vec::new();
            for (n, length) in lengths.iter().enumerate() {
                text.extend(std::iter::repeat_n(b'a' + (n % 26) as u8, *length));
                text.push(b'\n');
            }
            if !final_newline { text.pop(); }
            let file = tempfile::NamedTempFile::new().unwrap();
            match compression {
                Compression::None => file.as_file().write_all(&text).unwrap(),
                Compression::Gzip => {
                    // The file has two members, like the output of `cat a.gz b.gz`.
                    let (a, b) = text.split_at(text.len() / 2);
                    for part in [a, b] {
                        let mut encoder = flate2::write::GzEncoder::new(file.as_file(), flate2::Compression::fast());
                        encoder.write_all(part).unwrap();
                        encoder.finish().unwrap();
                    }
                }
                Compression::Zstd => zstd::stream::copy_encode(&text[..], file.as_file(), 1).unwrap(),
            }
            let expected: Vec<(u64, Vec<u8>)> =
                (1..).zip(text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read_all(file.path(), compression, workers), expected);
        }
    }
}
