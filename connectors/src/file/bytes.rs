//! The bytes of a file by their offset, plain or decompressed, and the chunks they are dealt in.
//!
//! ```text
//! bytes   …│ chunk k-1 │ chunk k │ chunk k+1 │…        64 KiB each
//! lines   ──┴──┬────┬──┴───┬───┬─┴──┬──────            a line belongs to the chunk its first byte is in
//! ```
//! A plain file is read where it is needed. A compressed one is decompressed from its beginning by
//! every worker, which keeps its own chunks: parsing costs more than inflating.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::format::Compression;
use super::handle::Handle;

/// How many bytes a chunk has.
pub(crate) const CHUNK: u64 = 64 * 1024;
/// A line longer than this is taken for damage.
const MAX_LINE: usize = 16 << 20;

/// The bytes of a file.
pub(crate) enum Bytes {
    Plain { file: Handle, counted: Counted },
    Stream(Stream),
}

/// How many newlines there are before an offset.
#[derive(Default)]
pub(crate) struct Counted {
    offset: u64,
    newlines: u64,
}

pub(crate) struct Stream {
    decoder: Box<dyn Read>,
    /// Decompressed bytes from `base` on.
    window: Vec<u8>,
    base: u64,
    newlines_before_base: u64,
    ended: bool,
}

/// The lines of a chunk, and where the first begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) offset: u64,
    /// Whether the file ends with them.
    pub(crate) last: bool,
}

impl Bytes {
    pub(crate) fn open(path: &Path, compression: Compression) -> io::Result<Self> {
        Self::of(Handle::open(path)?, compression)
    }

    pub(crate) fn of(file: Handle, compression: Compression) -> io::Result<Self> {
        let decoder: Box<dyn Read> = match compression {
            Compression::None => return Ok(Self::Plain { file, counted: Counted::default() }),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file.reader())))
            }
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(file.reader())?),
        };
        Ok(Self::Stream(Stream { decoder, window: Vec::new(), base: 0, newlines_before_base: 0, ended: false }))
    }

    /// Reads `from..to`, or less at the end of the file, into `out`.
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

    /// Nothing before `offset` will be asked for.
    pub(crate) fn forget(&mut self, offset: u64) -> io::Result<()> {
        match self {
            Self::Plain { .. } => Ok(()),
            Self::Stream(stream) => stream.forget_before(offset),
        }
    }

    /// Reads the lines that begin in chunk `k` (not before byte `skip` of it) into `out`, each with
    /// its newline but perhaps the last one of the file. `None` when the file ends before the chunk.
    pub(crate) fn chunk(&mut self, k: u64, skip: u64, out: &mut Vec<u8>) -> io::Result<Option<Lines>> {
        out.clear();
        // One byte more in front tells whether a line begins at the chunk's first byte.
        let (start, end) = (k * CHUNK + skip, (k + 1) * CHUNK);
        let lead = u64::from(start > 0);
        self.forget(start - lead)?;
        self.range(start - lead, end, out)?;
        if out.len() as u64 <= lead {
            return Ok(None);
        }
        let mut last = ((start - lead) + out.len() as u64) < end;
        let begin = match lead {
            0 => 0,
            _ => memchr::memchr(b'\n', out).map_or(out.len(), |newline| newline + 1),
        };
        if begin == out.len() && !last {
            // The line that began earlier reaches beyond this chunk: no line begins in it.
            out.clear();
            return Ok(Some(Lines { offset: end, last: false }));
        }
        while !last && out.last() != Some(&b'\n') {
            let at = (start - lead) + out.len() as u64;
            let before = out.len();
            self.range(at, at + 4096, out)?;
            last = out.len() - before < 4096;
            match memchr::memchr(b'\n', &out[before..]) {
                Some(newline) => {
                    last = false;
                    out.truncate(before + newline + 1);
                }
                None if out.len() > MAX_LINE => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("a line has more than {MAX_LINE} bytes: is this a file of lines?"),
                    ));
                }
                None => {}
            }
        }
        out.drain(..begin);
        Ok(Some(Lines { offset: (start - lead) + begin as u64, last }))
    }

    /// The number of the line (from 1) that begins at `offset`. Counts only when asked.
    pub(crate) fn line_number(&mut self, offset: u64) -> io::Result<u64> {
        match self {
            Self::Stream(stream) => Ok(stream.newlines_before(offset) + 1),
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
                    counted.newlines += memchr::memchr_iter(b'\n', &piece[..read]).count() as u64;
                    counted.offset += read as u64;
                }
                Ok(counted.newlines + 1)
            }
        }
    }
}

impl Stream {
    /// Decompresses up to `to`, or to the end.
    fn fill(&mut self, to: u64) -> io::Result<()> {
        while !self.ended && self.base + (self.window.len() as u64) < to {
            self.ended = self.decoder.by_ref().take(1 << 17).read_to_end(&mut self.window)? == 0;
        }
        Ok(())
    }

    /// Drops what lies before `offset`: it is never asked for again.
    fn forget_before(&mut self, offset: u64) -> io::Result<()> {
        while self.base < offset {
            let passed = ((offset - self.base) as usize).min(self.window.len());
            self.newlines_before_base += memchr::memchr_iter(b'\n', &self.window[..passed]).count() as u64;
            self.window.drain(..passed);
            self.base += passed as u64;
            self.fill(self.base + 1)?;
            if self.window.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn range(&mut self, from: u64, to: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(start) = from.checked_sub(self.base) else {
            return Err(io::Error::other("a compressed file was read backwards, which is a bug"));
        };
        self.fill(to)?;
        let (start, end) = (start as usize, ((to - self.base) as usize).min(self.window.len()));
        out.extend_from_slice(self.window.get(start..end).unwrap_or_default());
        Ok(())
    }

    fn newlines_before(&self, offset: u64) -> u64 {
        let len = (offset.saturating_sub(self.base) as usize).min(self.window.len());
        self.newlines_before_base + memchr::memchr_iter(b'\n', &self.window[..len]).count() as u64
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
            while let Some(found) = bytes.chunk(k, 0, &mut out).unwrap() {
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

        /// Whatever the lengths of lines and the number of workers: each line once, with its number.
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
                    // Two members, as `cat a.gz b.gz` makes them.
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
